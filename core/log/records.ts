// Blocks as readers get them, and the walk over their records.
import { z } from 'zod'
import { type AnyRow, ByteReader, type RowView, RUN_ROWS_MAX } from '../contract/index.ts'
import { asMainstemError, fail, isMainstemError } from '../errors.ts'
import type { StoredBlock } from './block.ts'
import type { LogBlock, LogTopic, ParkedRow, RecordCursor, RecordOp, SourceMark } from './log.ts'
import type { Layout, RowLender, Topics } from './topics.ts'

/** The number that stands in a record is the index. */
export const OPS = ['event', 'insert', 'update', 'delete', 'parked'] as const satisfies readonly RecordOp[]
export const OP_EVENT = 0
export const OP_INSERT = 1
export const OP_UPDATE = 2
export const OP_DELETE = 3
export const OP_PARKED = 4

/** Where a block stands, for error messages. */
export interface BlockPlace {
  readonly topics: Topics
  /** The segment's path. */
  readonly file: string
}

export const parkedSchema = z.object({
  op: z.enum(['insert', 'update', 'delete']),
  key: z.string(),
  raw: z.record(z.string(), z.string().nullable()),
  error: z.string(),
  redriveOf: z.int().optional(),
})

export const corrupt = (file: string, offset: number, what: string, cause?: unknown) =>
  fail('LOG_CORRUPT', 'the log is damaged', {
    detail: `${file} at byte ${offset}: ${what}`,
    hint: 'restore this file from a backup; without one, start on an empty data folder and let the sources take a new snapshot',
    data: { file, offset },
    cause,
  })

export class Block implements LogBlock {
  readonly first: number
  readonly count: number
  readonly #stored: StoredBlock
  readonly #place: BlockPlace
  readonly #skipped: number

  /** @param after records up to this position are left out */
  constructor(stored: StoredBlock, place: BlockPlace, after = 0) {
    this.#stored = stored
    this.#place = place
    this.#skipped = Math.min(stored.count, Math.max(0, after + 1 - stored.first))
    this.first = stored.first + this.#skipped
    this.count = stored.count - this.#skipped
  }

  get end(): number {
    return this.first + this.count - 1
  }

  get last(): boolean {
    return this.#stored.last
  }

  get appendTimeMs(): number {
    return this.#stored.appendTimeMs
  }

  get mark(): SourceMark | undefined {
    return this.#stored.mark
  }

  records(): RecordCursor {
    const cursor = new Records(this.#stored, this.#place)
    for (let n = 0; n < this.#skipped; n++) cursor.next()
    return cursor
  }
}

class Records implements RecordCursor {
  readonly #stored: StoredBlock
  readonly #place: BlockPlace
  readonly #reader: ByteReader
  #left: number
  #position: number
  /** Where the payload of the record at hand begins and ends. */
  #start = 0
  #end = 0
  #op = OP_EVENT
  #layout: Layout | undefined
  #lender: RowLender | undefined

  constructor(stored: StoredBlock, place: BlockPlace) {
    this.#stored = stored
    this.#place = place
    this.#reader = new ByteReader(stored.payload)
    this.#left = stored.count
    this.#position = stored.first - 1
  }

  next(): boolean {
    if (this.#left === 0) return false
    const reader = this.#reader
    reader.at = this.#end
    try {
      const bytes = reader.varint()
      const end = reader.at + bytes
      if (end > reader.buffer.length) throw new RangeError('a record is longer than its block')
      const id = reader.varint()
      if (this.#layout?.id !== id) this.#layout = this.#place.topics.layout(id)
      if (!this.#layout) throw new RangeError(`layout ${id} of a record is not in topics.json`)
      this.#op = reader.u8()
      if (this.#op >= OPS.length) throw new RangeError(`${this.#op} is not an operation`)
      if (reader.at > end) throw new RangeError('a record is shorter than its head')
      if (this.#left === 1 && end !== reader.buffer.length) throw new RangeError('bytes follow the last record')
      this.#end = end
    } catch (error) {
      throw this.#damaged(error)
    }
    this.#start = reader.at
    this.#position++
    this.#left--
    return true
  }

  get position(): number {
    return this.#position
  }

  get topic(): LogTopic {
    if (!this.#layout) throw fail('INTERNAL', 'a record was read before next()')
    return this.#layout.topic
  }

  get op(): RecordOp {
    return OPS[this.#op]!
  }

  before(): AnyRow | null {
    if (this.#op === OP_DELETE) return this.#row(this.#start, this.#end)
    if (this.#op !== OP_UPDATE) return null
    const bytes = this.#beforeBytes()
    return this.#row(this.#reader.at, this.#reader.at + bytes)
  }

  after(): AnyRow | null {
    if (this.#op === OP_EVENT || this.#op === OP_INSERT) return this.#row(this.#start, this.#end)
    if (this.#op !== OP_UPDATE) return null
    const bytes = this.#beforeBytes()
    return this.#row(this.#reader.at + bytes, this.#end)
  }

  lendBefore(): AnyRow | null {
    if (this.#op === OP_DELETE) return this.#lend('before', this.#start, this.#end)
    if (this.#op !== OP_UPDATE) return null
    const bytes = this.#beforeBytes()
    return this.#lend('before', this.#reader.at, this.#reader.at + bytes)
  }

  lendAfter(): AnyRow | null {
    if (this.#op === OP_EVENT || this.#op === OP_INSERT) return this.#lend('after', this.#start, this.#end)
    if (this.#op !== OP_UPDATE) return null
    const bytes = this.#beforeBytes()
    return this.#lend('after', this.#reader.at + bytes, this.#end)
  }

  recall(): void {
    this.#lender?.recall()
  }

  get lender(): RowView | undefined {
    return this.#op === OP_EVENT || this.#op === OP_INSERT ? this.#layout!.lender?.after : undefined
  }

  lendRun(): number {
    const lender = this.#layout!.lender!
    const { source } = lender.after
    const { code } = lender
    const reader = this.#reader
    const before = source.count
    try {
      for (;;) {
        reader.at = this.#start
        code.read(source, reader, source.count)
        if (reader.at !== this.#end) throw new RangeError('a row is not as long as it says')
        source.positions[source.count++] = this.#position
        if (source.count === RUN_ROWS_MAX || this.#left === 0 || !this.#isNextAlike()) break
        this.next()
      }
    } catch (error) {
      throw this.#damaged(error)
    }
    return source.count - before
  }

  /** Whether the next record has the layout and operation of the one at hand. */
  #isNextAlike(): boolean {
    const reader = this.#reader
    reader.at = this.#end
    reader.varint()
    return reader.varint() === this.#layout!.id && reader.u8() === this.#op
  }

  #lend(image: 'before' | 'after', at: number, end: number): AnyRow {
    const lender = this.#layout!.lender
    this.#lender = lender
    if (!lender) return this.#row(at, end)
    const reader = this.#reader
    reader.at = at
    const view = lender[image]
    try {
      view.source.at = 0
      lender.code.read(view.source, reader, 0)
      if (reader.at !== end) throw new RangeError('a row is not as long as it says')
      return view.row
    } catch (error) {
      throw this.#damaged(error)
    }
  }

  /** Reads how long the row before is; the reader then stands at it. */
  #beforeBytes(): number {
    this.#reader.at = this.#start
    try {
      const bytes = this.#reader.varint()
      if (this.#reader.at + bytes > this.#end) throw new RangeError('a row is longer than its record')
      return bytes
    } catch (error) {
      throw this.#damaged(error)
    }
  }

  parked(): ParkedRow | null {
    if (this.#op !== OP_PARKED) return null
    try {
      return parkedSchema.parse(JSON.parse(this.#stored.payload.toString('utf8', this.#start, this.#end)))
    } catch (error) {
      throw this.#damaged(error)
    }
  }

  /** The row that stands from `at` to `end`, no byte more or less. */
  #row(at: number, end: number): AnyRow {
    const reader = this.#reader
    reader.at = at
    try {
      const row = this.#layout!.decode(reader, this.#position)
      if (reader.at !== end) throw new RangeError('a row is not as long as it says')
      return row
    } catch (error) {
      throw this.#damaged(error)
    }
  }

  #damaged(error: unknown): Error {
    if (isMainstemError(error)) return error
    const what = `record ${this.#position}: ${asMainstemError(error).detail}`
    return corrupt(this.#place.file, this.#stored.offset, what, error)
  }
}
