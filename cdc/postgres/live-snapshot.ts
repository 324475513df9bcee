// Reads tables while their changes are streamed. `pg_current_snapshot()` says exactly which transactions a reading sees, and the
// stream names each of its transactions by the same ids; what a reading sees is in the log before the place that is asked for
// after the snapshot was taken. Nothing is written to the server, and nothing is locked.
import { setTimeout as wait } from 'node:timers/promises'
import { defOf, fail, formatMinorUnits, minorUnitsOf, textOf } from '../../core/index.ts'
import { coreOf } from '../connector/columns.ts'
import type { CheckedTable, LiveReader, OnRow, Place } from '../connector/technology.ts'
import { onlyTable } from './catalog.ts'
import { type Client, connect, type PostgresTarget, quoteName, sqlStateOf } from './connection.ts'
import { parseLsn } from './lsn.ts'
import { CopyReader, ofPostgres } from './snapshot.ts'

const SETTLE_PATIENCE_MS = 2_000
const SETTLE_POLL_MS = 50
const IDS = 0x1_0000_0000n

export class LiveCopyReader extends CopyReader implements LiveReader<bigint> {
  async begin(): Promise<Place<bigint>> {
    await this.client.query('begin transaction isolation level repeatable read, read only')
    const { rows } = await this.client.query<{ snapshot: string; lsn: string }>(
      'select pg_current_snapshot()::text as snapshot, pg_current_wal_insert_lsn()::text as lsn',
    )
    const row = rows[0]
    if (!row) throw fail('SOURCE_PROTOCOL', 'the server does not say which transactions it shows')
    const sees = parseSnapshot(row.snapshot)
    return { watermark: parseLsn(row.lsn), hasSeen: transaction => sees(Number(transaction)) }
  }

  async readKeys(table: CheckedTable, keys: readonly Buffer[], onRow: OnRow): Promise<void> {
    const { contract } = ofPostgres(table).setup
    const columns = contract.key.columns.map(({ name }) => {
      const schema = contract.schema.shape[name]!
      const core = coreOf(schema).core
      // A Date has no microseconds: the rows that it stands for may have.
      const isDate = defOf(core).type === 'date'
      const sql = isDate ? `date_trunc('milliseconds', ${quoteName(name)})` : quoteName(name)
      return { name, sql, units: minorUnitsOf(core) }
    })
    const tuples = keys.map(bytes => {
      const key = contract.key.decode(bytes)
      const texts = columns.map(({ name, units }) => {
        const value = contract.key.single ? key : (key as Readonly<Record<string, unknown>>)[name]
        return this.literal(keyText(value, units?.scale))
      })
      return `(${texts.join(', ')})`
    })
    const names = columns.map(({ sql }) => sql).join(', ')
    await this.copy(table, `where (${names}) in (${tuples.join(', ')})`, onRow)
  }

  async end(): Promise<void> {
    await this.client.query('commit')
  }
}

/** A key's value as PostgreSQL reads it. */
function keyText(value: unknown, scale: number | undefined): string {
  if (scale !== undefined) return formatMinorUnits(BigInt(value as number | bigint), scale)
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  return String(value)
}

/** `xmin:xmax:xip,…` → whether the snapshot sees a transaction, given the lower half of its id. */
export function parseSnapshot(text: string): (id: number) => boolean {
  const [xmin = '0', xmax = '0', running = ''] = text.split(':')
  const least = BigInt(xmin)
  const end = BigInt(xmax)
  const unseen = new Set(running === '' ? [] : running.split(',').map(BigInt))
  return id => {
    let whole = (end / IDS) * IDS + BigInt(id)
    // The ids around the snapshot's own end: halves come around.
    if (whole > end + IDS / 2n) whole -= IDS
    else if (whole < end - IDS / 2n) whole += IDS
    return whole < least || (whole < end && !unseen.has(whole))
  }
}

/**
 * Resolves when all transactions that wrote when it was called are over.
 * @param onWaiting is told which of them hold it up, and null when none does any more
 */
export async function settle(
  target: PostgresTarget,
  onWaiting: (reason: string | null) => void,
  signal: AbortSignal,
): Promise<void> {
  const sql = await connect(target)
  try {
    // An id of its own: those that write have lower ones, while a snapshot's xmax may be the id of one that writes.
    const { rows } = await sql.query<{ next: string }>('select pg_current_xact_id()::text as next')
    const next = BigInt(rows[0]?.next ?? 0)
    const sinceMs = performance.now()
    for (;;) {
      const { rows } = await sql.query<{ oldest: string }>(
        'select pg_snapshot_xmin(pg_current_snapshot())::text as oldest',
      )
      if (BigInt(rows[0]?.oldest ?? 0) >= next) return onWaiting(null)
      if (performance.now() - sinceMs > SETTLE_PATIENCE_MS) onWaiting(await runningText(sql))
      await wait(SETTLE_POLL_MS, undefined, { signal })
    }
  } finally {
    void sql.end().catch(() => {})
  }
}

async function runningText(sql: Client): Promise<string> {
  const { rows } = await sql.query<{ text: string | null }>(
    `select string_agg(format('pid %s (since %s)', pid, to_char(xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')), ', '
                       order by xact_start) as text
       from pg_stat_activity where backend_xid is not null`,
  )
  return `the transaction of ${rows[0]?.text ?? 'some connection'}, which began before the snapshot`
}

/** @throws SNAPSHOT_INVALID */
export async function checkCondition(target: PostgresTarget, table: CheckedTable, where: string): Promise<void> {
  const { setup, catalog } = ofPostgres(table)
  const sql = await connect(target)
  try {
    await sql.query('begin transaction read only')
    // One command by the protocol, and an expression by its place: not a way to another query.
    const text = `explain select coalesce((${where}\n), false) from ${onlyTable(catalog)} where (${where}\n)`
    await sql.query({ text, queryMode: 'extended' } as { text: string })
  } catch (error) {
    if (!/^(42|22|0A)/.test(sqlStateOf(error))) throw error
    throw fail('SNAPSHOT_INVALID', `the condition does not fit ${setup.table.table}`, {
      detail: textOf(error),
      hint: `write what follows WHERE, in SQL of its columns: ${catalog.columns.map(column => column.name).join(', ')}`,
    })
  } finally {
    void sql.end().catch(() => {})
  }
}
