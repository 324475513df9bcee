// Whether the changes after the log's position can still be had from this server, before it is asked to stream.
import { fail, type MainstemError } from '../../core/index.ts'
import { repair } from '../connector/start.ts'
import type { Known } from '../connector/technology.ts'
import { type Client, errorNumberOf } from './connection.ts'
import type { GtidPosition, GtidPositions } from './gtid.ts'
import type { Setup } from './setup.ts'

/** The end of the server's binary log. */
export async function serverPosition({ flavour }: Setup, sql: Client, positions: GtidPositions): Promise<GtidPosition> {
  const [row] = await sql.query<{ position: string }>(
    `select ${flavour === 'mariadb' ? '@@global.gtid_binlog_pos' : '@@global.gtid_executed'} as position`,
  )
  return positions.parse(row?.position ?? '')
}

/** What the server's oldest binary log begins behind. Undefined where that cannot be told: then the dump itself finds out. */
async function purgedPosition(
  { flavour }: Setup,
  sql: Client,
  positions: GtidPositions,
): Promise<GtidPosition | undefined> {
  if (flavour === 'mysql') {
    const [row] = await sql.query<{ position: string }>('select @@global.gtid_purged as position')
    return positions.parse(row?.position ?? '')
  }
  const [oldest] = await sql.query<{ Log_name: string }>('show binary logs')
  if (!oldest) return undefined
  const [row] = await sql.query<{ position: string | null }>('select binlog_gtid_pos(?, 4) as position', [
    oldest.Log_name,
  ])
  return row?.position ? positions.parse(row.position) : undefined
}

export async function findLost(
  setup: Setup,
  sql: Client,
  positions: GtidPositions,
  { control, logged }: Known<GtidPosition>,
): Promise<MainstemError | undefined> {
  if (control.phase !== 'snapshot-ended') return undefined
  const { source } = setup
  const server = await serverPosition(setup, sql, positions)
  if (!server.includes(logged)) {
    return fail('SOURCE_SYSTEM_CHANGED', `source ${source} is another server, or was restored to an older state`, {
      detail: `the log has its transactions up to ${positions.format(logged)}, the server ends at ${positions.format(server) || 'nothing'}`,
      hint: `check the url, or ${repair(source)}`,
    })
  }
  const from = positions.parse(positions.resumeText(logged))
  const purged = await purgedPosition(setup, sql, positions)
  if (purged && !from.includes(purged)) return purgedError(source, positions.format(logged), positions.format(purged))
  return undefined
}

const purgedError = (source: string, logged: string, purged: string): MainstemError =>
  fail('SOURCE_CHANGES_LOST', `binary logs of ${source} that are still needed were purged`, {
    detail: `the log ends at ${logged}, the oldest binary log begins behind ${purged}: what is between is lost`,
    hint: `${repair(source)}; keep binary logs longer (binlog_expire_logs_seconds)`,
  })

const DUMP_REFUSED = 1236

/** What an error means that ended a dump; undefined where it says nothing of lost changes. */
export function lostByDump(source: string, error: unknown, position: string): MainstemError | undefined {
  if (errorNumberOf(error) !== DUMP_REFUSED) return undefined
  const detail = error instanceof Error ? error.message : String(error)
  if (/same server_uuid\/server_id|slave with the same/i.test(detail)) {
    return fail('SOURCE_SLOT_IN_USE', `another client reads the binary log of ${source} under the same server id`, {
      detail,
      hint: 'stop the other one, or give this source a serverId of its own',
    })
  }
  if (!/gtid|purged|binlog|not found|could not find|position/i.test(detail)) return undefined
  return fail('SOURCE_CHANGES_LOST', `source ${source} cannot stream from where the log ends`, {
    detail: `the log ends at ${position || 'nothing'}; the server says: ${detail}`,
    hint: repair(source),
  })
}
