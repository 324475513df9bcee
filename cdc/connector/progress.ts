// How far a snapshot is: rows, speed, time left. Told to the status as it is asked, and in events a few times a second.
import type { MainstemError, Reading, SnapshotProgress, SourceEvent } from '../../core/index.ts'
import { reportOf } from '../../core/index.ts'
import type { CheckedTable } from './technology.ts'

const EVENT_EVERY_MS = 250

interface TableRows {
  rows: number
  estimated: number
  done: boolean
}

export class Progress {
  readonly #source: string
  readonly #onEvent: (event: SourceEvent) => void
  readonly #tables = new Map<string, TableRows>()
  readonly #startedMs = performance.now()
  /** Rows that were read since then. */
  #read = 0
  #saidMs = performance.now()
  paused = false
  error: MainstemError | null = null

  /** @param reading what is to be read, some of it maybe already */
  constructor(
    source: string,
    reading: Reading,
    tables: readonly CheckedTable[],
    onEvent: (event: SourceEvent) => void,
  ) {
    this.#source = source
    this.#onEvent = onEvent
    this.follow(reading, tables)
  }

  /** More tables may have come, or all may be over. */
  follow(reading: Reading, tables: readonly CheckedTable[]): void {
    this.paused = reading.paused
    for (const { table, rows, done } of reading.tables) {
      const known = this.#tables.get(table)
      if (known && !known.done) continue
      const checked = tables.find(({ setup }) => setup.contract.name === table)
      this.#tables.set(table, { rows, done, estimated: done ? rows : Math.max(checked?.rowsEstimated ?? 0, rows) })
    }
  }

  add(table: CheckedTable, rows: number): void {
    const { contract, table: source } = table.setup
    const known = this.#tables.get(contract.name)
    if (!known) return
    known.rows += rows
    known.estimated = Math.max(known.estimated, known.rows)
    this.#read += rows
    this.#say(source.name, known, false)
  }

  finish(table: CheckedTable): void {
    const known = this.#tables.get(table.setup.contract.name)
    if (!known) return
    known.done = true
    known.estimated = known.rows
    this.#say(table.setup.table.name, known, true)
  }

  /** Rows read since it began here, and how long that took. */
  get total(): { readonly rows: number; readonly seconds: number } {
    return { rows: this.#read, seconds: (performance.now() - this.#startedMs) / 1_000 }
  }

  get now(): SnapshotProgress {
    const tables = [...this.#tables.values()]
    const rows = tables.reduce((sum, table) => sum + table.rows, 0)
    const rowsEstimated = tables.reduce((sum, table) => sum + table.estimated, 0)
    const rowsPerSecond = Math.round(this.#read / Math.max(this.total.seconds, 0.001))
    return {
      rows,
      rowsEstimated,
      rowsPerSecond,
      secondsLeft: this.paused || rowsPerSecond === 0 ? null : Math.round((rowsEstimated - rows) / rowsPerSecond),
      tables: tables.length,
      tablesDone: tables.filter(({ done }) => done).length,
      paused: this.paused,
      error: this.error ? reportOf(this.error) : null,
    }
  }

  #say(table: string, { rows, estimated }: TableRows, force: boolean): void {
    const nowMs = performance.now()
    if (!force && nowMs - this.#saidMs < EVENT_EVERY_MS) return
    this.#saidMs = nowMs
    const { rowsPerSecond } = this.now
    this.#onEvent({
      event: 'snapshot-progress',
      source: this.#source,
      table,
      rows,
      rowsEstimated: estimated,
      rowsPerSecond,
    })
  }
}
