// What a source remembers of itself, as it stands in the log: each change of it is a record in the batch that it belongs to.
import {
  type Batch,
  type ControlState,
  controlRecord,
  type LogTopic,
  type Mirror,
  type Reading,
  type TableReading,
} from '../../core/index.ts'

export class Control {
  readonly #source: string
  readonly #topic: LogTopic
  readonly #mirror: Mirror
  #state: ControlState

  constructor(source: string, topic: LogTopic, mirror: Mirror) {
    this.#source = source
    this.#topic = topic
    this.#mirror = mirror
    this.#state = mirror.control
  }

  /** As of the last record, durable or not. */
  get state(): ControlState {
    return this.#state
  }

  /** Adds the record of a new state to a batch; call what it gives when the batch is durable. */
  record(batch: Batch, state: ControlState): () => void {
    batch.event(this.#topic, controlRecord(this.#source, state))
    this.#state = state
    return () => {
      this.#mirror.control = state
    }
  }
}

/** Tables of which nothing has been read yet. */
export const unread = (
  tables: readonly string[],
  why: TableReading['why'],
  epoch: number,
  where: string | null = null,
): TableReading[] => tables.map(table => ({ table, why, where, epoch, until: null, rows: 0, done: false }))

/** The reading with a table's part replaced. */
export const advanced = (reading: Reading, table: TableReading): Reading => ({
  ...reading,
  tables: reading.tables.map(each => (each.table === table.table ? table : each)),
})

/** The table to read next. */
export const nextTable = (reading: Reading | null): TableReading | undefined =>
  reading?.tables.find(({ done }) => !done)
