// The records at some positions of the log, in order, and where their transactions end: blocks that hold none are passed over.
import type { Log, LogBlock, LogReader, RecordCursor } from '../../core/index.ts'
import type { Pace } from './pace.ts'

/** From one record to the next: further apart, the reader is opened anew there, which passes over what is in between. */
const SEEK_FROM_RECORDS = 65_536
const RECORDS_PER_CLOCK_LOOK = 128

export interface RecordVisitor {
  record(cursor: RecordCursor, block: LogBlock): void
  /** After the last of the records that are of one transaction. @param block the last one of the transaction itself */
  endTransaction(block: LogBlock): void
}

/** @param positions ascending; one at which there is no record any more is passed over */
export async function readRecordsAt(
  log: Log,
  positions: Float64Array,
  visitor: RecordVisitor,
  pace: Pace,
): Promise<void> {
  const walk = new Walk(positions, visitor, pace)
  let reader: LogReader | undefined
  try {
    while (walk.wanted !== undefined) {
      if (reader === undefined || (!walk.inTransaction && walk.wanted - reader.position > SEEK_FROM_RECORDS)) {
        reader?.close()
        reader = log.read(walk.wanted - 1)
      }
      const blocks = await reader.ready()
      if (blocks.length === 0) return
      for (const block of blocks) await walk.take(block)
      if (pace.due) await pace.rest()
    }
  } finally {
    reader?.close()
  }
}

class Walk {
  readonly #positions: Float64Array
  readonly #visitor: RecordVisitor
  readonly #pace: Pace
  #next = 0
  /** True while a transaction with a record that was visited has not ended. */
  inTransaction = false

  constructor(positions: Float64Array, visitor: RecordVisitor, pace: Pace) {
    this.#positions = positions
    this.#visitor = visitor
    this.#pace = pace
  }

  /** Position from which on something is wanted; undefined when all is done. */
  get wanted(): number | undefined {
    if (this.#next < this.#positions.length) return this.#positions[this.#next]
    return this.inTransaction ? (this.#positions.at(-1) ?? 0) + 1 : undefined
  }

  async take(block: LogBlock): Promise<void> {
    if (block.count > 0 && this.#hasWanted(block)) await this.#visit(block)
    if (block.last && this.inTransaction) {
      this.inTransaction = false
      this.#visitor.endTransaction(block)
    }
  }

  #hasWanted({ end }: LogBlock): boolean {
    return this.#next < this.#positions.length && this.#positions[this.#next]! <= end
  }

  async #visit(block: LogBlock): Promise<void> {
    const cursor = block.records()
    for (let n = 1; this.#hasWanted(block) && cursor.next(); n++) {
      this.#passOver(cursor.position)
      if (this.#positions[this.#next] === cursor.position) {
        this.#next++
        this.inTransaction = true
        this.#visitor.record(cursor, block)
      }
      if (n % RECORDS_PER_CLOCK_LOOK === 0 && this.#pace.due) await this.#pace.rest()
    }
    this.#passOver(block.end + 1)
    if (this.#pace.due) await this.#pace.rest()
  }

  /** Records that were removed. */
  #passOver(position: number): void {
    while (this.#next < this.#positions.length && this.#positions[this.#next]! < position) this.#next++
  }
}
