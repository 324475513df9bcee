// The replication slot: what holds the server's write-ahead log until the log here has it.
import { setTimeout as wait } from 'node:timers/promises'
import { fail } from '../../core/index.ts'
import { type Client, processIdOf, quoteName, sqlStateOf } from './connection.ts'
import { parseLsn } from './lsn.ts'

/** A slot's creation waits for all transactions that run; after this long, say for which. */
const CREATE_PATIENCE_MS = 2_000
const WATCH_EVERY_MS = 1_000
/** After a crash of ours the server may need a moment to see that the old connection is gone. */
export const IN_USE_PATIENCE_MS = 10_000
const IN_USE_POLL_MS = 250

export interface Slot {
  readonly plugin: string
  readonly database: string
  readonly activePid: number | null
  /** NaN-free: 0n where the server says nothing. */
  readonly confirmed: bigint
  readonly lost: string | null
  /** Standbys keep it, too. */
  readonly failover: boolean
}

interface SlotRow {
  readonly plugin: string | null
  readonly database: string | null
  readonly active_pid: number | null
  readonly confirmed: string | null
  readonly wal_status: string | null
  readonly reason: string | null
  readonly failover: boolean
}

export async function readSlot(sql: Client, name: string): Promise<Slot | undefined> {
  const { rows } = await sql.query<SlotRow>(
    `select plugin::text, database::text, active_pid, confirmed_flush_lsn::text as confirmed, wal_status::text,
            to_jsonb(s) ->> 'invalidation_reason' as reason, coalesce((to_jsonb(s) ->> 'failover')::boolean, false) as failover
       from pg_replication_slots s where slot_name = $1`,
    [name],
  )
  const row = rows[0]
  if (!row) return undefined
  return {
    plugin: row.plugin ?? '',
    database: row.database ?? '',
    activePid: row.active_pid,
    confirmed: row.confirmed ? parseLsn(row.confirmed) : 0n,
    lost: row.wal_status === 'lost' ? (row.reason ?? 'the server removed the log it needs') : row.reason,
    failover: row.failover,
  }
}

/** Has standbys keep a slot that nobody uses, too. */
export async function keepOnStandbys(replication: Client, name: string): Promise<void> {
  await replication.query(`ALTER_REPLICATION_SLOT ${quoteName(name)} (FAILOVER true)`)
}

/** `kept on standbys`: lasting, and they have it too · `of the connection`: it goes with it. */
export type SlotKind = 'lasting' | 'kept on standbys' | 'of the connection'

export interface CreatedSlot {
  readonly consistentPoint: bigint
  readonly snapshot: string
}

/**
 * Creates the slot on a replication connection and exports its snapshot, valid while the connection does nothing else.
 * @param onWaiting is told which transactions hold it up, and null when nothing does any more
 */
export async function createSlot(
  replication: Client,
  sql: Client,
  name: string,
  onWaiting: (reason: string | null) => void,
  signal: AbortSignal,
  kind: SlotKind,
): Promise<CreatedSlot> {
  const done = new AbortController()
  const pid = processIdOf(replication)
  // A backend that waits for a lock does not notice that its client has gone: it would make the slot later.
  const cancel = () => void sql.query('select pg_terminate_backend($1)', [pid]).catch(() => {})
  signal.addEventListener('abort', cancel, { once: true })
  const watching = watchCreation(sql, pid, onWaiting, done.signal)
  try {
    const { rows } = await replication.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${quoteName(name)} ${kind === 'of the connection' ? 'TEMPORARY ' : ''}LOGICAL pgoutput (SNAPSHOT 'export'${kind === 'kept on standbys' ? ', FAILOVER true' : ''})`,
    )
    const row = rows[0]
    if (!row) throw fail('SOURCE_PROTOCOL', `the server created slot ${name} but does not describe it`)
    return { consistentPoint: parseLsn(row.consistent_point), snapshot: row.snapshot_name }
  } finally {
    signal.removeEventListener('abort', cancel)
    done.abort()
    await watching
    onWaiting(null)
  }
}

async function watchCreation(sql: Client, pid: number, onWaiting: (reason: string) => void, done: AbortSignal) {
  try {
    await wait(CREATE_PATIENCE_MS, undefined, { signal: done })
    for (;;) {
      const blockers = await findBlockers(sql, pid)
      if (done.aborted) return
      onWaiting(`${blockers || 'a running transaction of the server'}, which holds up slot creation`)
      await wait(WATCH_EVERY_MS, undefined, { signal: done })
    }
  } catch (error) {
    if (!done.aborted) onWaiting(`slot creation takes long; the server does not say why: ${String(error)}`)
  }
}

interface BlockerRow {
  readonly pid: number
  readonly user: string | null
  readonly since: string | null
  readonly state: string | null
  readonly synchronous: boolean | null
  readonly query: string | null
  readonly prepared: string | null
}

/** The transactions that a backend waits for, in words; empty where it waits for none. */
export async function findBlockers(sql: Client, pid: number): Promise<string> {
  const { rows } = await sql.query<BlockerRow>(
    `select b.pid, a.usename::text as user, to_char(a.xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since,
            a.state, a.wait_event = 'SyncRep' as synchronous, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120) as query,
            case when b.pid = 0 then (
              select string_agg(format('%s (by %s)', p.gid, p.owner), ', ') from pg_prepared_xacts p
               where p.transaction in (select l.transactionid from pg_locks l where l.pid = $1 and not l.granted)) end as prepared
       from unnest(pg_blocking_pids($1)) b(pid) left join pg_stat_activity a on a.pid = b.pid`,
    [pid],
  )
  return rows.map(describeBlocker).join(', ')
}

function describeBlocker({ pid, user, since, state, synchronous, query, prepared }: BlockerRow): string {
  if (pid === 0) return `the prepared transaction ${prepared ?? '(see pg_prepared_xacts)'}`
  const facts = [
    user && `user ${user}`,
    since && `since ${since}`,
    state,
    synchronous && 'whose commit waits for a standby of synchronous_standby_names',
    query && `query: ${withoutPasswords(query)}`,
  ].filter(Boolean)
  return `the transaction of pid ${pid}${facts.length > 0 ? ` (${facts.join(', ')})` : ''}`
}

/**
 * Waits until no connection uses the slot.
 * @throws SOURCE_SLOT_IN_USE naming the pid, after 10 s
 */
export async function waitUntilFree(
  sql: Client,
  source: string,
  name: string,
  onWaiting: (reason: string | null) => void,
  signal: AbortSignal,
): Promise<void> {
  const until = performance.now() + IN_USE_PATIENCE_MS
  for (;;) {
    const slot = await readSlot(sql, name)
    if (!slot || slot.activePid === null) return onWaiting(null)
    if (performance.now() > until) throw slotInUse(source, name, slot.activePid)
    onWaiting(`pid ${slot.activePid}, which still uses slot ${name}`)
    await wait(IN_USE_POLL_MS, undefined, { signal })
  }
}

export const slotInUse = (source: string, name: string, pid: number | null) =>
  fail('SOURCE_SLOT_IN_USE', `slot ${name} of ${source} is in use by another connection`, {
    detail: pid === null ? 'the server does not name it' : `the server's process ${pid} streams from it`,
    hint: `stop the other application, or end its connection: select pg_terminate_backend(${pid ?? 'pid'})`,
    data: { pid },
  })

/** Drops the slot, ending the connection that uses it if `force`; false where there was none. */
export async function dropSlot(sql: Client, source: string, name: string, force: boolean): Promise<boolean> {
  const until = performance.now() + IN_USE_PATIENCE_MS
  for (;;) {
    const slot = await readSlot(sql, name)
    if (!slot) return false
    if (force && slot.activePid !== null) await sql.query('select pg_terminate_backend($1)', [slot.activePid])
    try {
      await sql.query('select pg_drop_replication_slot($1)', [name])
      return true
    } catch (error) {
      if (sqlStateOf(error) === '42704') return false
      // 55006: in use. A walsender that was told to end needs a moment.
      if (sqlStateOf(error) !== '55006' || performance.now() > until) {
        throw sqlStateOf(error) === '55006' ? slotInUse(source, name, slot.activePid) : error
      }
      await wait(IN_USE_POLL_MS)
    }
  }
}

/** Another session's statement may hold a secret: `ALTER ROLE … PASSWORD '…'`, cut short perhaps. */
export const withoutPasswords = (query: string): string =>
  query.replace(/(password\s*=?\s*)('(?:[^']|'')*('|$)|\$\w*\$.*)/gi, "$1'…'")
