// The captured tables of a stream: found by name, read by what their table maps say, and what statements do to them.
import { fail, type SchemaColumn } from '../../core/index.ts'
import { RowReader } from '../connector/rows.ts'
import type { ColumnRename } from '../connector/technology.ts'
import type { Collations } from './charsets.ts'
import { compileColumn } from './columns.ts'
import type { Statement } from './ddl.ts'
import { ImageReader } from './images.ts'
import { type MariadbOutbox, type StreamedOutbox, streamedOutbox } from './outbox.ts'
import type { Checked, MariadbTable } from './preflight.ts'
import { inDatabase, type Setup, type TableName } from './setup.ts'
import { streamedColumn } from './stored-form.ts'
import type { TableMap } from './table-map.ts'

export interface Streamed {
  readonly reader: RowReader
  /** As the log records them. */
  readonly columns: readonly SchemaColumn[]
}

export interface Followed {
  readonly images: ImageReader
  readonly places: readonly number[]
  readonly child: string
}

type CheckedAll = Pick<Checked, 'tables' | 'outboxes'>

export class CapturedTables {
  readonly #setup: Setup
  readonly #collations: Collations
  readonly #readAgain: () => Promise<CheckedAll>
  #tables: readonly MariadbTable[]
  #outboxes: readonly MariadbOutbox[]
  readonly #renamed = new Map<string, readonly ColumnRename[]>()

  /** @param readAgain checks the tables anew @throws CONTRACT_… */
  constructor(
    setup: Setup,
    { tables, outboxes }: CheckedAll,
    collations: Collations,
    readAgain: () => Promise<CheckedAll>,
  ) {
    this.#setup = setup
    this.#tables = tables
    this.#outboxes = outboxes
    this.#collations = collations
    this.#readAgain = readAgain
  }

  async readAgain(): Promise<void> {
    const { tables, outboxes } = await this.#readAgain()
    this.#tables = tables
    this.#outboxes = outboxes
  }

  find(name: { readonly database: string; readonly table: string }): MariadbTable | undefined {
    return this.#tables.find(({ catalog }) => catalog.name === name.table && catalog.database === name.database)
  }

  #named({ database, name }: TableName): MariadbTable | undefined {
    return this.find({ database, table: name })
  }

  /** @throws SOURCE_BINLOG_SETTINGS, CONTRACT_COLUMN_MISSING, SOURCE_PROTOCOL */
  streamed({ setup, catalog }: MariadbTable, map: TableMap): Streamed {
    const { contract, table } = setup
    this.#checkNames(table.name, map)
    const names = map.columns.map(column => column.name)
    const fields = Object.entries(contract.schema.shape)
    for (const [name] of fields) {
      if (names.includes(name)) continue
      throw fail('CONTRACT_COLUMN_MISSING', `${table.name} has no column '${name}' any more`, {
        detail: `it has ${names.join(', ')}`,
        hint: 'bring the contract up to date, or undo the change of the table',
      })
    }
    const readers = fields.map(([name, schema]) => {
      const stored = map.columns[names.indexOf(name)]!
      const known = catalog.columns.find(column => column.name === name)?.type
      const { type, form } = streamedColumn(stored, known, this.#collations)
      return compileColumn(name, type, form, schema)
    })
    const places = fields.map(([name]) => names.indexOf(name))
    const columns = names.map(name => ({
      name,
      type: catalog.columns.find(column => column.name === name)?.type.name ?? 'unknown',
      number: null,
    }))
    return {
      columns,
      reader: new RowReader(contract, readers, places),
    }
  }

  /** The outbox that a table map means, if it is one. @throws SOURCE_BINLOG_SETTINGS, CONTRACT_COLUMN_MISSING */
  outbox(map: TableMap): StreamedOutbox | undefined {
    const outbox = this.#outboxes.find(({ catalog }) => catalog.name === map.table && catalog.database === map.database)
    if (!outbox) return undefined
    this.#checkNames(outbox.captured.topic.name, map)
    return streamedOutbox(outbox, map, this.#collations)
  }

  #checkNames(name: string, { hasNames }: TableMap): void {
    if (hasNames) return
    throw fail('SOURCE_BINLOG_SETTINGS', `changes of ${name} do not say which columns they are of`, {
      detail: 'they were logged while binlog_row_metadata was not FULL',
      hint: `SET GLOBAL binlog_row_metadata = FULL, then mainstem run app.ts --resnapshot ${this.#setup.source}`,
    })
  }

  /** Columns of a table whose change would change rows of a captured one, unlogged. */
  followed(map: TableMap): Followed | undefined {
    for (const { setup, catalog } of this.#tables) {
      const columns = catalog.follows.filter(each => each.name === map.table && each.database === map.database)
      const places = columns.map(({ column }) => map.columns.findIndex(({ name }) => name === column))
      if (places.length > 0) return { images: new ImageReader(map.table, map.columns), places, child: setup.table.name }
    }
    return undefined
  }

  /** Captured tables that have no rows after the statement. */
  emptiedBy(statement: Statement): MariadbTable[] {
    if (statement.kind === 'emptied') return statement.tables.flatMap(table => this.#named(table) ?? [])
    if (statement.kind !== 'database-dropped') return []
    return this.#tables.filter(({ catalog }) => catalog.database === statement.database)
  }

  /** A captured table whose rows are no longer those that were logged. */
  replacedBy(statement: Statement): { readonly table: string; readonly how: string } | undefined {
    if (statement.kind === 'altered' && statement.rows) {
      const table = this.#named(statement.table)
      return table && { table: table.setup.table.name, how: `ALTER TABLE … ${statement.rows.toUpperCase()}` }
    }
    if (statement.kind !== 'renamed') return undefined
    for (const [n, to] of statement.to.entries()) {
      const table = this.#named(to)
      // What online schema changes put in a table's place is its copy.
      if (!table || isCopyOf(to.name, statement.from[n]?.name ?? '')) continue
      return { table: table.setup.table.name, how: `${statement.from[n]?.name} was renamed to ${to.name}` }
    }
    const away = statement.from.find(from => this.#named(from) && !statement.to.some(to => isSame(to, from)))
    const table = away && this.#named(away)
    return table && { table: table.setup.table.name, how: 'the table was renamed' }
  }

  /** What it says of columns counts for the rows that follow. */
  follow(statement: Statement): void {
    if (statement.kind !== 'altered') return
    const topic = this.#named(statement.table)?.setup.contract.name
    if (topic) this.#renamed.set(topic, [...(this.#renamed.get(topic) ?? []), ...statement.columns])
  }

  /** Columns of a table that were renamed since it was last asked. */
  renamed(topic: string): readonly ColumnRename[] {
    const renamed = this.#renamed.get(topic) ?? []
    this.#renamed.delete(topic)
    return renamed
  }

  isAlteredBy(statement: Statement): boolean {
    const isOurs = (table: TableName) =>
      this.#named(table) !== undefined || this.#outboxes.some(({ catalog }) => isSame(catalog, table))
    switch (statement.kind) {
      case 'altered':
        return isOurs(statement.table)
      case 'renamed':
        return statement.to.some(isOurs)
      default:
        return false
    }
  }

  /** A captured table, or an outbox, whose name stands in a statement. */
  namedIn(sql: string, database: string): string | undefined {
    const words = new Set(sql.match(/[\p{L}\p{N}_$]+/gu))
    const { tables, outboxes } = this.#setup
    const all = [
      ...tables.map(table => ({ in: table.in, name: table.table.name })),
      ...outboxes.map(outbox => ({ in: outbox.in, name: outbox.captured.topic.name })),
    ]
    return all.find(table => {
      const { database: own, name } = inDatabase(this.#setup, table)
      return words.has(name) && (own === database || words.has(own))
    })?.name
  }
}

const isSame = (a: TableName, b: TableName): boolean => a.database === b.database && a.name === b.name

/** The names that pt-online-schema-change and gh-ost give to the copies that they swap in. */
const isCopyOf = (table: string, copy: string): boolean => copy === `_${table}_new` || copy === `_${table}_gho`
