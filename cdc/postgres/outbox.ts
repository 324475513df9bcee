// Outbox tables in PostgreSQL: what is checked of them, reading those that stand there, and deleting rows whose events are in the log.
import { type CapturedTopic, fail, type MainstemError, type RawValues } from '../../core/index.ts'
import { didYouMean } from '../connector/did-you-mean.ts'
import type { OutboxReader } from '../connector/events.ts'
import { checkOutbox } from '../connector/outbox-table.ts'
import type { CheckedTopic, OutboxTables } from '../connector/technology.ts'
import { type CatalogTable, nearbyTables, readTables, type TableName } from './catalog.ts'
import { compileColumn } from './columns.ts'
import { checkType } from './compatibility.ts'
import { type Client, quoteName, quoteTable } from './connection.ts'
import { parseLsn } from './lsn.ts'
import type { Setup, SetupOutbox } from './setup.ts'

const FETCH_ROWS = 1_000

/** An outbox with what the server's catalog says of it. */
export interface PgOutbox extends CheckedTopic {
  readonly setup: SetupOutbox
  readonly catalog: CatalogTable
  readonly reader: OutboxReader
}

/** @param problems gets what stands in the way */
export async function checkOutboxes(setup: Setup, sql: Client, problems: MainstemError[]): Promise<PgOutbox[]> {
  if (setup.outboxes.length === 0) return []
  const tables = await readTables(
    sql,
    setup.outboxes.map(({ pg }) => pg),
  )
  const checked: PgOutbox[] = []
  for (const outbox of setup.outboxes) {
    const catalog = tables.find(({ schema, name }) => schema === outbox.pg.schema && name === outbox.pg.name)
    if (!catalog || (catalog.kind !== 'r' && catalog.kind !== 'p')) {
      problems.push(await missing(setup, sql, outbox.pg))
      continue
    }
    const columns = catalog.columns.filter(({ generated }) => !generated)
    const found = checkOutbox(outbox, columns, { checkType, compileColumn })
    const wrong = await checkRights(sql, outbox, catalog)
    problems.push(...('problems' in found ? found.problems : []), ...wrong)
    if ('reader' in found && wrong.length === 0)
      checked.push({ setup: outbox, captured: outbox.captured, catalog, reader: found.reader })
  }
  return checked
}

async function missing(setup: Setup, sql: Client, table: TableName): Promise<MainstemError> {
  const names = await nearbyTables(sql)
  const near = didYouMean(table.name, names)
  return fail('CONTRACT_TABLE_MISSING', `${setup.source} has no table '${table.name}'`, {
    detail: `looked for ${quoteTable(table)}; there is ${names.slice(0, 12).join(', ') || 'no table'}`,
    ...(near ? { hint: `did you mean ${near}?` } : {}),
  })
}

async function checkRights(
  sql: Client,
  { captured, origin }: SetupOutbox,
  catalog: CatalogTable,
): Promise<MainstemError[]> {
  const { name } = captured.topic
  const table = quoteTable(catalog)
  const problems: MainstemError[] = []
  const key = keyOf(catalog)
  if (catalog.persistence !== 'p')
    problems.push(
      fail('CONTRACT_TABLE_MISSING', `${name} is unlogged`, {
        detail: 'its changes are not in the write-ahead log',
        hint: `ALTER TABLE ${table} SET LOGGED`,
      }),
    )
  // A table without one cannot be deleted from, by anyone, once it is in a publication.
  if (key.length === 0)
    problems.push(
      fail('CONTRACT_KEY_MISMATCH', `${name} has no primary key`, {
        detail: 'PostgreSQL refuses deletes of a published table that has none',
        hint: `ALTER TABLE ${table} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY`,
      }),
    )
  if (catalog.columns.some(({ selectable }) => !selectable) || catalog.rowSecurity)
    problems.push(
      fail('SOURCE_PERMISSION', `${name} cannot be read`, {
        detail: catalog.rowSecurity ? 'row-level security applies' : 'no SELECT privilege on all of its columns',
        hint: `as its owner (${catalog.owner}): GRANT SELECT ON ${table} TO the source's user`,
      }),
    )
  if (origin.keep) return problems
  const { rows } = await sql.query<{ may: boolean }>(`select has_table_privilege($1::oid, 'DELETE') as may`, [
    catalog.oid,
  ])
  if (!rows[0]?.may)
    problems.push(
      fail('SOURCE_PERMISSION', `rows of ${name} cannot be deleted`, {
        detail: 'keep: false needs the DELETE privilege',
        hint: `as its owner (${catalog.owner}): GRANT DELETE ON ${table} TO the source's user; or leave keep out`,
      }),
    )
  return problems
}

const keyOf = ({ indexes }: CatalogTable): readonly string[] =>
  indexes.find(({ primary, columns }) => primary && columns.length > 0)?.columns ?? []

/** Values as the server writes them, whatever their type. */
const TEXTS = { getTypeParser: () => (text: string) => text }
type Texts = (string | null)[]

/** The rows of an outbox, as the transaction at hand sees them. */
export async function* readOutbox(client: Client, { catalog, reader }: PgOutbox): AsyncGenerator<readonly RawValues[]> {
  const { columns } = reader
  const list = (names: readonly string[]) => names.map(quoteName).join(', ')
  await client.query(
    `declare outbox no scroll cursor for select ${list(columns)} from ${quoteTable(catalog)} order by ${list(keyOf(catalog))}`,
  )
  for (;;) {
    const { rows } = await client.query<Texts>({
      text: `fetch ${FETCH_ROWS} from outbox`,
      rowMode: 'array',
      types: TEXTS,
    })
    if (rows.length === 0) break
    yield rows.map(row => Object.fromEntries(columns.map((name, n) => [name, row[n] ?? null])))
  }
  await client.query('close outbox')
}

export class PgOutboxTables implements OutboxTables<bigint> {
  readonly #sql: Client
  readonly #find: (topic: CapturedTopic) => PgOutbox | undefined

  constructor(sql: Client, find: (topic: CapturedTopic) => PgOutbox | undefined) {
    this.#sql = sql
    this.#find = find
  }

  async rows({ captured }: CheckedTopic, most: number) {
    const { catalog } = this.#of(captured)
    const columns = keyOf(catalog).map(quoteName).join(', ')
    const text = `select ${columns} from ${quoteTable(catalog)} order by ${columns} limit ${most}`
    const { rows } = await this.#sql.query<Texts>({ text, rowMode: 'array', types: TEXTS })
    // Asked after the rows were seen, so their commits are before it.
    const end = await this.#sql.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn')
    return { keys: rows as string[][], at: parseLsn(end.rows[0]?.lsn ?? '') }
  }

  async remove({ captured }: CheckedTopic, keys: readonly (readonly string[])[]): Promise<void> {
    const { catalog } = this.#of(captured)
    const columns = keyOf(catalog)
    const given = columns
      .map((name, n) => `$${n + 1}::${catalog.columns.find(column => column.name === name)?.type.name}[]`)
      .join(', ')
    await this.#sql.query(
      `delete from ${quoteTable(catalog)} where (${columns.map(quoteName).join(', ')}) in (select * from unnest(${given}))`,
      columns.map((_, n) => keys.map(key => key[n])),
    )
  }

  #of(topic: CapturedTopic): PgOutbox {
    const outbox = this.#find(topic)
    if (!outbox) throw fail('INTERNAL', `${topic.topic.name} is no outbox of this session`)
    return outbox
  }
}
