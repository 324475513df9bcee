// `POST /v1/views/{view}/replay` and its GET: what a request says, checked, and how a replay is told in JSON.
import { fail } from '../core/index.ts'
import type { ReplayBase, ReplayOptions, ReplayReport, ReplayStatus } from '../projections/index.ts'
import type { Reads } from './reads.ts'
import { type VerifiedViewWire, verifiedJson } from './verify-wire.ts'

/** `{ from?, dryRun? }`. @throws REQUEST_INVALID */
export function replayRequestOf(body: unknown): ReplayOptions {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalid('the body is not an object')
  const { from = '0', dryRun = false, ...rest } = body as { from?: unknown; dryRun?: unknown }
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw invalid(`unknown member '${unknown.slice(0, 100)}'`)
  if (typeof from !== 'string' || !/^\d{1,16}$/.test(from) || !Number.isSafeInteger(Number(from)))
    throw invalid("'from' is not a position")
  if (typeof dryRun !== 'boolean') throw invalid("'dryRun' is neither true nor false")
  return { from: Number(from), dryRun }
}

const invalid = (message: string) =>
  fail('REQUEST_INVALID', message, { hint: 'send {}, or {"from": "0", "dryRun": true}' })

export interface ReplayWire extends Omit<ReplayStatus, 'report'> {
  readonly report:
    | (Omit<ReplayReport, 'position' | 'from' | 'base' | 'switchedAt' | 'views'> & {
        readonly position: string
        readonly from: string
        readonly base: (Omit<ReplayBase, 'position'> & { readonly position: string }) | null
        readonly switchedAt: string | null
        readonly views: readonly VerifiedViewWire[]
      })
    | null
}

/** As JSON text: rows are written as reads write them. */
export function replayJson(reads: Reads, { report, ...status }: ReplayStatus): string {
  const rest = JSON.stringify(status).slice(1)
  if (report === null) return `{"report":null,${rest}`
  const { position, from, base, records, seconds, views, switchedAt } = report
  const each = views.map(view => verifiedJson(reads, view)).join(',')
  const at = switchedAt === null ? 'null' : `"${switchedAt}"`
  const begun = `"from":"${from}","base":${JSON.stringify(base && { ...base, position: String(base.position) })}`
  const counted = `"position":"${position}",${begun},"records":${records},"seconds":${seconds},"switchedAt":${at}`
  return `{"report":{${counted},"views":[${each}]},${rest}`
}
