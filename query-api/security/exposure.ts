// Where a server may listen that asks nobody who they are: on this machine. Anywhere else that must be said.
import { isIPv4 } from 'node:net'
import { fail } from '../../core/index.ts'
import type { LiveView } from '../../projections/index.ts'

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))

export interface Exposure {
  readonly host: string
  /** Whether clients are asked who they are. */
  readonly guarded: boolean
  readonly allowAnonymous: boolean
  readonly views: Iterable<LiveView>
}

/** @throws ACCESS_UNGUARDED */
export function checkExposure({ host, guarded, allowAnonymous, views }: Exposure): void {
  if (guarded || isLoopback(host)) return
  if (!allowAnonymous)
    throw fail('ACCESS_UNGUARDED', `${host} is reachable from other machines, and nobody would be asked who they are`, {
      hint: 'give API keys (--keys) or a JWT issuer (--jwt-issuer), listen on 127.0.0.1, or say --allow-anonymous where the network is the guard',
    })
  const withPolicy = [...views].filter(view => view.policy !== undefined).map(view => view.name)
  if (withPolicy.length === 0) return
  throw fail('ACCESS_UNGUARDED', `${withPolicy.join(', ')} would show all rows to anybody`, {
    detail: 'a policy says who may see which rows, and nobody would be asked who they are',
    hint: 'give API keys (--keys) or a JWT issuer (--jwt-issuer)',
  })
}
