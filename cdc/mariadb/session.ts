// The connections of one attempt: what MariaDB and MySQL do at each step of it.
import type { CapturedTopic } from '../../core/index.ts'
import type { RowReader } from '../connector/rows.ts'
import type {
  CheckedTable,
  Feed,
  FeedSink,
  Known,
  LiveReader,
  Preflight,
  Session,
  Snapshot,
} from '../connector/technology.ts'
import { CapturedTables } from './captured-tables.ts'
import { readCollations } from './catalog.ts'
import type { Collations } from './charsets.ts'
import { type Client, connect } from './connection.ts'
import type { GtidPosition, GtidPositions } from './gtid.ts'
import { checkCondition, LiveTableReader } from './live-snapshot.ts'
import { findLost } from './lost.ts'
import { type MariadbOutbox, MariadbOutboxTables } from './outbox.ts'
import { type Checked, type MariadbTable, preflight } from './preflight.ts'
import type { Setup } from './setup.ts'
import { openSnapshot, textReader } from './snapshot.ts'
import { BinlogFeed } from './stream.ts'

export class MariadbSession implements Session<GtidPosition> {
  readonly #setup: Setup
  readonly #positions: GtidPositions
  readonly #sql: Client
  #tables: readonly MariadbTable[] = []
  #outboxes: readonly MariadbOutbox[] = []
  readonly outbox: MariadbOutboxTables
  #collations: Collations = new Map()
  readonly #outboxOf = (topic: CapturedTopic): MariadbOutbox | undefined =>
    this.#outboxes.find(({ captured }) => captured === topic)

  constructor(setup: Setup, positions: GtidPositions, sql: Client) {
    this.#setup = setup
    this.#positions = positions
    this.#sql = sql
    this.outbox = new MariadbOutboxTables(setup, sql, positions, this.#outboxOf)
  }

  async check(known: Known<GtidPosition>): Promise<Preflight> {
    const { identity, tables, outboxes } = await preflight(this.#setup, this.#sql)
    this.#tables = tables
    this.#outboxes = outboxes
    this.#collations = await readCollations(this.#sql, this.#setup.flavour === 'mariadb')
    const lost = await findLost(this.#setup, this.#sql, this.#positions, known)
    return { identity, tables, topics: outboxes, lost }
  }

  /** The server itself ends an older dump of the same server id. */
  async waitUntilFree(): Promise<void> {}

  /** The server keeps nothing for a source. */
  async clear(): Promise<void> {}

  openSnapshot(): Promise<Snapshot<GtidPosition>> {
    return openSnapshot(this.#setup, this.#positions, this.#outboxOf)
  }

  openExactSnapshot(): Promise<Snapshot<GtidPosition>> {
    return this.openSnapshot()
  }

  rowReader(table: CheckedTable): RowReader {
    return textReader(this.#tables.find(each => each.setup === table.setup) ?? (table as MariadbTable))
  }

  /** All tables are in the binary log. */
  async publish(): Promise<void> {}

  /** A snapshot shows all that its GTID says, and the binary log has all the rest. */
  async settle(): Promise<void> {}

  async openLiveReader(): Promise<LiveReader<GtidPosition>> {
    return new LiveTableReader(this.#setup, this.#positions)
  }

  checkCondition(table: CheckedTable, where: string): Promise<void> {
    return checkCondition(this.#setup, table, where)
  }

  openFeed(
    start: GtidPosition,
    sink: FeedSink<GtidPosition>,
    begins: ReadonlyMap<string, GtidPosition>,
  ): Feed<GtidPosition> {
    const setup = this.#setup
    const checked = { tables: this.#tables, outboxes: this.#outboxes }
    const tables = new CapturedTables(setup, checked, this.#collations, () => checkAgain(setup))
    return new BinlogFeed({ setup, positions: this.#positions, start, sink, tables, begins })
  }

  close(): void {
    this.#sql.end()
  }
}

async function checkAgain(setup: Setup): Promise<Checked> {
  const sql = await connect(setup.target)
  try {
    return await preflight(setup, sql)
  } finally {
    sql.end()
  }
}
