// A standby that was promoted has another timeline than the server that the log knows. Whether the log can go on from it: its
// history must hold all that the log has, and the slot must have come along.
import { fail, type MainstemError } from '../../core/index.ts'
import { changedIdentity, repair } from '../connector/start.ts'
import type { Known } from '../connector/technology.ts'
import type { Client } from './connection.ts'
import { formatLsn, parseLsn } from './lsn.ts'
import type { Setup } from './setup.ts'
import type { Slot } from './slot.ts'

/** Which cluster a replication connection goes to, and its timeline. */
export async function identify(replication: Client): Promise<{ readonly system: string; readonly timeline: string }> {
  const { rows } = await replication.query<{ systemid: string; timeline: number }>('IDENTIFY_SYSTEM')
  return { system: String(rows[0]?.systemid), timeline: String(rows[0]?.timeline) }
}

/** Timelines that a server's own comes from → where each was left. */
export type Timelines = ReadonlyMap<string, bigint>

/** @param replication a replication connection */
export async function readTimelines(replication: Client, timeline: string): Promise<Timelines> {
  // The first has no history.
  if (timeline === '1') return new Map()
  const { rows } = await replication.query<{ content: string | Buffer }>(`TIMELINE_HISTORY ${Number(timeline)}`)
  const lines = String(rows[0]?.content).split('\n')
  const left = lines.map(line => line.trim().split(/\s+/)).filter(([number]) => /^\d+$/.test(number ?? ''))
  return new Map(left.map(([number, lsn]) => [number!, parseLsn(lsn ?? '')]))
}

/** Undefined where nothing changed, or the server is quite another one. */
export function findSuccessor(
  { source, slot: slotName }: Setup,
  { control, logged }: Known<bigint>,
  identity: Readonly<Record<string, string>>,
  timelines: Timelines,
  slot: Slot | undefined,
): 'continues' | MainstemError | undefined {
  const { timeline, ...others } = control.identity
  if (timeline === undefined || timeline === identity['timeline']) return undefined
  if (changedIdentity(others, identity)) return undefined
  const lost = (what: string) =>
    fail('SOURCE_SYSTEM_CHANGED', `source ${source} was failed over to a standby, or restored`, {
      detail: `its timeline was ${timeline} and is ${identity['timeline']}, which ${what}`,
      hint: repair(source),
    })
  const began = timelines.get(timeline)
  if (began === undefined) return lost('does not come from it: changes may have been lost')
  const end = formatLsn(logged)
  if (logged > began) {
    return lost(
      `began at ${formatLsn(began)}: what the log has from there to ${end} is not in it, and changes since then are lost`,
    )
  }
  if (!slot)
    return lost(`began at ${formatLsn(began)}; slot ${slotName} did not come along: changes after ${end} are lost`)
  return 'continues'
}
