// Outbox tables in MariaDB and MySQL: what is checked of them, reading those that stand there, their inserts in the stream, and
// deleting rows whose events are in the log.
import {
  type CapturedTopic,
  type EventInput,
  fail,
  type MainstemError,
  type RawValues,
  textOf,
} from '../../core/index.ts'
import type { OutboxReader } from '../connector/events.ts'
import type { Image } from '../connector/image.ts'
import { checkOutbox, placesOf } from '../connector/outbox-table.ts'
import type { CheckedTopic, OutboxTables } from '../connector/technology.ts'
import { type CatalogTable, missingTable, readTables, tryToRead } from './catalog.ts'
import type { Collations } from './charsets.ts'
import { compileColumn, latin1, textForm } from './columns.ts'
import { checkType } from './compatibility.ts'
import { type Client, errorNumberOf, quoteName, quoteTable } from './connection.ts'
import type { GtidPosition, GtidPositions } from './gtid.ts'
import { behindCode, hexCode, keyColumns, literalOf, orderCode } from './key-literals.ts'
import { serverPosition } from './lost.ts'
import { inDatabase, type Setup, type SetupOutbox } from './setup.ts'
import type { TableReader } from './snapshot.ts'
import { streamedColumn } from './stored-form.ts'
import type { TableMap } from './table-map.ts'

const FETCH_ROWS = 1_000
/** No right to a table, or to a column. */
const DENIED = new Set([1142, 1143])

/** An outbox with what the server's catalog says of it. */
export interface MariadbOutbox extends CheckedTopic {
  readonly setup: SetupOutbox
  readonly catalog: CatalogTable
  readonly reader: OutboxReader
}

/** @param problems gets what stands in the way */
export async function checkOutboxes(setup: Setup, sql: Client, problems: MainstemError[]): Promise<MariadbOutbox[]> {
  const names = setup.outboxes.map(outbox => inDatabase(setup, outbox))
  const tables = await readTables(sql, names, setup.flavour === 'mariadb')
  const checked: MariadbOutbox[] = []
  for (const [n, outbox] of setup.outboxes.entries()) {
    const { database, name } = names[n]!
    const catalog = tables.find(each => each.database === database && each.name === name)
    if (catalog?.kind !== 'BASE TABLE') {
      problems.push(await missingTable(setup, sql, { in: outbox.in, table: outbox.origin.table }))
      continue
    }
    const columns = catalog.columns.filter(({ virtual }) => !virtual)
    const found = checkOutbox(outbox, columns, {
      checkType,
      compileColumn: (column, type, schema) => compileColumn(column, type, textForm(type), schema),
    })
    if ('problems' in found) problems.push(...found.problems)
    const wrong = [
      ...checkKey(outbox, catalog),
      ...('reader' in found ? await checkRights(sql, outbox, catalog, found.reader) : []),
    ]
    problems.push(...wrong)
    if ('reader' in found && wrong.length === 0)
      checked.push({ setup: outbox, captured: outbox.captured, catalog, reader: found.reader })
  }
  return checked
}

/** Rows are read in its order, and deleted by it. */
const keyOf = ({ keys }: CatalogTable): readonly string[] => keys[0] ?? []

function checkKey({ captured }: SetupOutbox, catalog: CatalogTable): MainstemError[] {
  if (keyOf(catalog).length > 0) return []
  return [
    fail('CONTRACT_KEY_MISMATCH', `${captured.topic.name} has no primary key`, {
      detail: 'nothing identifies a row of it',
      hint: `ALTER TABLE ${quoteTable(catalog)} ADD COLUMN id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY`,
    }),
  ]
}

/** Asking is the only way to know: rights may come through roles. */
async function checkRights(
  sql: Client,
  { captured, origin }: SetupOutbox,
  catalog: CatalogTable,
  reader: OutboxReader,
): Promise<MainstemError[]> {
  const { name } = captured.topic
  const denied = async (work: () => Promise<unknown>, what: string, right: string): Promise<MainstemError[]> => {
    try {
      await work()
      return []
    } catch (error) {
      if (!DENIED.has(errorNumberOf(error))) throw error
      const hint = `as an administrator: GRANT ${right} ON ${quoteTable(catalog)} TO the source's user`
      return [fail('SOURCE_PERMISSION', `${name} ${what}`, { detail: textOf(error), hint })]
    }
  }
  const columns = [...new Set([...reader.columns, ...keyOf(catalog)])]
  return [
    ...(await denied(() => tryToRead(sql, catalog, columns), 'cannot be read', 'SELECT')),
    ...(origin.keep
      ? []
      : await denied(
          () => sql.query(`explain delete from ${quoteTable(catalog)} where false`),
          'has rows that cannot be deleted, which keep: false needs',
          'DELETE',
        )),
  ]
}

/** The rows of an outbox, as the reader's transaction sees them, some at a time. */
export async function* readOutbox(
  reading: TableReader,
  { catalog, reader }: MariadbOutbox,
): AsyncGenerator<readonly RawValues[]> {
  const key = keyColumns(keyOf(catalog), catalog.columns)
  const columns = keyColumns(reader.columns, catalog.columns)
  const forms = columns.map(({ type }) => textForm(type))
  const list = [...columns.map(({ name }) => quoteName(name)), ...key.map(hexCode)].join(', ')
  const order = key.map(orderCode).join(', ')
  for (let after: readonly string[] | undefined; ; ) {
    const rows: RawValues[] = []
    let last: readonly string[] = []
    const where = after ? ` where ${behindCode(key, after)}` : ''
    await reading.texts(
      `select ${list} from ${quoteTable(catalog)}${where} order by ${order} limit ${FETCH_ROWS}`,
      textAt => {
        rows.push(Object.fromEntries(columns.map(({ name }, n) => [name, textAt(n, forms[n]!.raw)])))
        last = key.map((_, n) => textAt(columns.length + n, latin1) ?? '')
      },
    )
    if (rows.length > 0) yield rows
    if (rows.length < FETCH_ROWS) return
    after = last
  }
}

/** Events of an outbox, out of row images of the binary log. */
export interface StreamedOutbox {
  readonly topic: string
  read(after: Image): EventInput
}

/** @throws CONTRACT_COLUMN_MISSING */
export function streamedOutbox(outbox: MariadbOutbox, map: TableMap, collations: Collations): StreamedOutbox {
  const { captured, catalog, reader } = outbox
  const names = map.columns.map(({ name }) => name)
  const places = placesOf(outbox, names)
  const forms = map.columns.map(
    stored => streamedColumn(stored, catalog.columns.find(({ name }) => name === stored.name)?.type, collations).form,
  )
  return {
    topic: captured.topic.name,
    read: after => reader.read(after, places, (place, start, end) => forms[place]!.raw(after.bytes, start, end)),
  }
}

export class MariadbOutboxTables implements OutboxTables<GtidPosition> {
  readonly #setup: Setup
  readonly #sql: Client
  readonly #positions: GtidPositions
  readonly #find: (topic: CapturedTopic) => MariadbOutbox | undefined

  constructor(
    setup: Setup,
    sql: Client,
    positions: GtidPositions,
    find: (topic: CapturedTopic) => MariadbOutbox | undefined,
  ) {
    this.#setup = setup
    this.#sql = sql
    this.#positions = positions
    this.#find = find
  }

  async rows({ captured }: CheckedTopic, most: number) {
    const { catalog } = this.#of(captured)
    const key = keyColumns(keyOf(catalog), catalog.columns)
    const list = key.map((column, n) => `${hexCode(column)} as k${n}`).join(', ')
    const found = await this.#sql.query<Record<string, string>>(
      `select ${list} from ${quoteTable(catalog)} order by ${key.map(orderCode).join(', ')} limit ${most}`,
    )
    // Asked after the rows were seen, so their transactions are in it.
    const at = await serverPosition(this.#setup, this.#sql, this.#positions)
    return { keys: found.map(row => key.map((_, n) => row[`k${n}`] ?? '')), at }
  }

  async remove({ captured }: CheckedTopic, keys: readonly (readonly string[])[]): Promise<void> {
    const { catalog } = this.#of(captured)
    const columns = keyColumns(keyOf(catalog), catalog.columns)
    const tuple = (key: readonly string[]) =>
      `(${columns.map((column, n) => literalOf(column, Buffer.from(key[n] ?? '', 'hex'))).join(', ')})`
    await this.#sql.query(
      `delete from ${quoteTable(catalog)} where (${columns.map(orderCode).join(', ')}) in (${keys.map(tuple).join(', ')})`,
    )
  }

  #of(topic: CapturedTopic): MariadbOutbox {
    const outbox = this.#find(topic)
    if (!outbox) throw fail('INTERNAL', `${topic.topic.name} is no outbox of this session`)
    return outbox
  }
}
