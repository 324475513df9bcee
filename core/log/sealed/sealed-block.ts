// A sealed block in memory: its groups and their columns, unpacked when asked for; and the hot blocks that it was made of, as
// readers get them from a hot segment.
import { setImmediate as immediate } from 'node:timers/promises'
import { type AnyRow, ByteReader, type RowSource, type RowViewCode } from '../../contract/index.ts'
import { asMainstemError, isMainstemError } from '../../errors.ts'
import { readMark } from '../block.ts'
import { blockGone, letGo } from '../let-go.ts'
import type { LogBlock, RecordCursor, SourceMark } from '../log.ts'
import { type BlockPlace, corrupt, OP_PARKED, OP_UPDATE } from '../records.ts'
import type { Layout } from '../topics.ts'
import { type BlockEntry, isSparse, planOf } from './block-writer.ts'
import { SEALED_BLOCK_RECORDS_MAX, SEALED_RECORDS_FULL, UNPACKED_VALUES_PER_TURN } from './bounds.ts'
import { readColumnHead, readNumbersHead, type StoredColumn, sectionsOf } from './column-heads.ts'
import { ColumnUse } from './column-use.ts'
import { ColumnData, readIntegers, readNumbers } from './columns.ts'
import { openBlock } from './format.ts'
import { LateImage, targetsOf } from './late-image.ts'
import type { PlannedColumn } from './plan.ts'
import { SealedRecords } from './sealed-records.ts'
import { Sections } from './sections.ts'

/** One image of a group: its columns, and the hash of each row's key. */
export interface ImageData {
  readonly columns: readonly ColumnData[]
  readonly hashes: ColumnData
  /** The row of an index, in the shape of its layout. */
  row(index: number): AnyRow
  /**
   * Gives the rows from an index on to accessors of their layout, as rows `at` and following of their run.
   * False where they do not follow those that the run has.
   * @param damaged makes the error of a column that cannot be read
   */
  lend(source: RowSource, code: RowViewCode, at: number, index: number, damaged: (error: unknown) => Error): boolean
}

export class GroupData {
  readonly layout: Layout
  readonly op: number
  readonly count: number
  /** The row itself; of an update the row after, then the row before. */
  readonly images: readonly ImageData[]
  readonly parked: ColumnData | undefined

  constructor(head: ByteReader, place: BlockPlace, sections: Sections, use: ColumnUse) {
    const id = head.varint()
    const layout = place.topics.layout(id)
    if (!layout) throw new RangeError(`layout ${id} of a record is not in topics.json`)
    this.layout = layout
    this.op = head.u8()
    this.count = head.varint()
    const asked = use.of(layout)
    // Rows before and after are one here: who asks for a field of one asks for it of the other.
    const column = (form: StoredColumn, at: number) => new ColumnData(form, this.count, sections, { asked, at })
    const planned = planOf(layout).columns
    if (this.op === OP_PARKED) {
      this.parked = column(present(readColumnHead(head)), planned.length + 1)
      this.images = []
      return
    }
    const after = new Image(layout, readImage(head, planned, column))
    if (this.op !== OP_UPDATE) this.images = [after]
    else this.images = [after, new Image(layout, readImage(head, planned, column, after))]
  }
}

const present = (form: StoredColumn | undefined): StoredColumn => {
  if (!form) throw new RangeError('a column is the same as none')
  return form
}

function readImage(
  head: ByteReader,
  planned: readonly PlannedColumn[],
  make: (form: StoredColumn, at: number) => ColumnData,
  after?: ImageData,
) {
  const columns = planned.map((_, n) => {
    const form = readColumnHead(head)
    return form ? make(form, n) : after ? after.columns[n]! : make(present(form), n)
  })
  const form = readColumnHead(head)
  const at = planned.length
  return { columns, hashes: form ? make(form, at) : (after?.hashes ?? make(present(form), at)) }
}

class Image implements ImageData {
  readonly columns: readonly ColumnData[]
  readonly hashes: ColumnData
  readonly #layout: Layout
  #row: ((index: number) => AnyRow) | undefined
  #late: LateImage | undefined

  constructor(layout: Layout, { columns, hashes }: { columns: readonly ColumnData[]; hashes: ColumnData }) {
    this.columns = columns
    this.hashes = hashes
    this.#layout = layout
  }

  lend(source: RowSource, code: RowViewCode, at: number, index: number, damaged: (error: unknown) => Error): boolean {
    this.#late ??= new LateImage(this.columns, targetsOf(planOf(this.#layout), code.fields), damaged)
    return this.#late.lend(source, at, index)
  }

  row(index: number): AnyRow {
    this.#row ??= planOf(this.#layout).assembler(this.columns)
    return this.#row(index)
  }
}

let numbers = new Uint32Array(0)

/** The numbers from 0 on: the same memory for all blocks that are of one group. */
function identity(count: number): Uint32Array {
  if (numbers.length < count) numbers = Uint32Array.from({ length: Math.max(count, SEALED_RECORDS_FULL) }, (_, n) => n)
  return numbers.subarray(0, count)
}

/** Where in shared memory stands what is unpacked: behind the block as it is stored. */
const sharedFrom = ({ bytes }: BlockEntry): number => (bytes + 7) & ~7

/** One of the hot blocks. */
interface Span {
  /** Number of its first record in the block. */
  readonly index: number
  readonly first: number
  readonly end: number
  readonly count: number
  readonly last: boolean
  readonly appendTimeMs: number
  readonly mark: SourceMark | undefined
}

export class SealedBlock {
  readonly entry: BlockEntry
  readonly place: BlockPlace
  readonly groups: readonly GroupData[]
  /** Whether its memory was given back. */
  isGone = false
  readonly #bytes: Buffer
  readonly #sections: Sections
  readonly #spanCount: number
  readonly #spanSection: number
  readonly #groupForm: StoredColumn | undefined
  readonly #positionForm: StoredColumn | undefined
  #positions: Float64Array | undefined
  #of: Uint8Array | Uint16Array | undefined
  #local: Uint32Array | undefined

  /** @throws LOG_CORRUPT */
  constructor(bytes: Buffer, entry: BlockEntry, place: BlockPlace, seed: number, use = new ColumnUse()) {
    this.#bytes = bytes
    this.entry = entry
    this.place = place
    try {
      const { head, body } = openBlock(bytes, entry, seed)
      // The table of sections stands last in the head: groups are given it before it is known, and ask it later.
      const sections = new Sections(body, seed)
      this.#spanCount = head.varint()
      this.#spanSection = head.varint()
      const count = head.varint()
      this.groups = Array.from({ length: Math.min(count, 65_536) }, () => new GroupData(head, place, sections, use))
      const records = this.groups.reduce((sum, group) => sum + group.count, 0)
      if (records !== entry.count || records > SEALED_BLOCK_RECORDS_MAX)
        throw new RangeError(`a block of ${entry.count} records has groups of ${records}`)
      this.#groupForm = count > 1 ? readNumbersHead(head) : undefined
      this.#positionForm = isSparse(entry) ? readNumbersHead(head) : undefined
      sections.open(head)
      this.#sections = sections
    } catch (error) {
      throw this.damaged(error)
    }
  }

  /**
   * Checks the checksums of all that is stored, as the reading of a hot block does, and makes it ready, with pauses: who then
   * walks over the records waits for none of it. With 'asked', of the columns only those that were asked for in blocks before:
   * another one is unpacked when it is first asked for. @throws LOG_CORRUPT
   */
  async unpack(which: 'all' | 'asked' = 'all'): Promise<this> {
    try {
      await this.#sections.check()
      const columns = [...this.#columns()].filter(column => which === 'all' || column.wasAsked)
      await this.#sections.unpack(which === 'all' ? undefined : this.#sectionsOf(columns))
      let values = this.localOf.length
      for (const column of columns) {
        column.unpack()
        values += column.count
        if (values < UNPACKED_VALUES_PER_TURN) continue
        values = 0
        await immediate()
      }
    } catch (error) {
      throw this.damaged(error)
    }
    return this
  }

  /** Moves what is unpacked to memory that begins with this block as it is stored; false where there is not enough of it. */
  share(memory: Buffer): boolean {
    return this.#sections.share(memory, sharedFrom(this.entry))
  }

  /** Takes over what another reader has checked and unpacked there. */
  adopt(memory: Buffer): this {
    this.#sections.adopt(memory, sharedFrom(this.entry))
    return this
  }

  /** The sections of some columns, and those that every walk over the records needs. */
  #sectionsOf(columns: readonly ColumnData[]): Set<number> {
    const forms = [this.#groupForm, this.#positionForm].filter(form => form !== undefined)
    return new Set([
      this.#spanSection,
      ...forms.flatMap(form => [...sectionsOf(form)]),
      ...columns.flatMap(column => [...column.sections()]),
    ])
  }

  *#columns(): Generator<ColumnData> {
    for (const { images, parked } of this.groups) {
      if (parked) yield parked
      for (const { columns } of images) yield* columns
    }
  }

  /** Gives its memory back: its records cannot be read any more. */
  letGo(): void {
    this.isGone = true
    this.#sections.letGo()
    letGo(this.#bytes)
  }

  /** Bytes of the columns, as they are stored and unpacked. */
  get size(): { readonly bytes: number; readonly rawBytes: number } {
    return this.#sections.size
  }

  readonly damagedBy = (error: unknown): Error => this.damaged(error)

  damaged(error: unknown): Error {
    if (isMainstemError(error)) return error
    return corrupt(this.place.file, this.entry.offset, `${asMainstemError(error).detail}`, error)
  }

  /** Number of the group of each record. */
  get groupOf(): Uint8Array | Uint16Array {
    if (!this.#of) {
      const { count } = this.entry
      const Of = this.groups.length <= 256 ? Uint8Array : Uint16Array
      this.#of = this.#groupForm ? Of.from(readIntegers(this.#groupForm, count, this.#sections)) : new Of(count)
    }
    return this.#of
  }

  /** True where positions are missing between its records. */
  get sparse(): boolean {
    return this.#positionForm !== undefined
  }

  /** Of each record, where there are holes; undefined where record n has position `entry.first + n`. @throws RangeError */
  get positions(): Float64Array | undefined {
    if (!this.#positionForm) return undefined
    if (!this.#positions) {
      const { first, last, count } = this.entry
      const positions = readNumbers(this.#positionForm, count, this.#sections)
      for (let n = 0; n < count; n++)
        if (!(positions[n]! >= (n > 0 ? positions[n - 1]! + 1 : first)) || positions[n]! > last)
          throw new RangeError('the positions of a block are out of order')
      this.#positions = positions
    }
    return this.#positions
  }

  /** The number of the first record at a position or after it. @throws RangeError */
  indexOf(position: number): number {
    const { positions } = this
    const { first, count } = this.entry
    if (!positions) return Math.min(count, Math.max(0, position - first))
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (positions[middle]! < position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Place of each record within its group. */
  get localOf(): Uint32Array {
    if (!this.#local && this.groups.length === 1) this.#local = identity(this.entry.count)
    if (!this.#local) {
      const of = this.groupOf
      const next = new Uint32Array(this.groups.length)
      const local = new Uint32Array(of.length)
      for (let n = 0; n < of.length; n++) local[n] = next[of[n]!]!++
      for (const [n, { count }] of this.groups.entries())
        if (next[n] !== count) throw new RangeError('a group has another number of records than its block')
      this.#local = local
    }
    return this.#local
  }

  /** The hot blocks with anything after a position. @throws LOG_CORRUPT */
  blocks(after: number): LogBlock[] {
    try {
      const blocks: LogBlock[] = []
      for (const span of this.spans()) {
        // A heartbeat at the position itself ends there and begins after it.
        if (span.count > 0 ? span.end > after : span.first > after) blocks.push(new SpanBlock(this, span, after))
      }
      return blocks
    } catch (error) {
      throw this.damaged(error)
    }
  }

  /** The hot blocks. @throws RangeError */
  spans(): Span[] {
    const { positions } = this
    const spans: Span[] = []
    const reader = new ByteReader(this.#sections.get(this.#spanSection))
    let index = 0
    let first = this.entry.first
    let appendTimeMs = this.entry.minTimeMs
    for (let left = this.#spanCount; left > 0; left--) {
      if (positions) first += reader.varint()
      const count = reader.varint()
      const flags = reader.u8()
      appendTimeMs += reader.int()
      const mark = flags & 2 ? readMark(reader, (flags & 4) !== 0) : undefined
      if (count > 0 && positions && positions[index] !== first)
        throw new RangeError('a block does not begin where its records do')
      const end = positions && count > 0 ? positions[index + count - 1]! : first + count - 1
      spans.push({ index, first, end, count, last: (flags & 1) !== 0, appendTimeMs, mark })
      index += count
      first = end + 1
    }
    if (index !== this.entry.count || first !== this.entry.last + 1)
      throw new RangeError('a block has another number of records')
    return spans
  }
}

class SpanBlock implements LogBlock {
  readonly first: number
  readonly count: number
  readonly #block: SealedBlock
  readonly #span: Span
  /** Number of the first record in the sealed block. */
  readonly #index: number

  constructor(block: SealedBlock, span: Span, after: number) {
    const skipped = after < span.first ? 0 : Math.min(span.count, Math.max(0, block.indexOf(after + 1) - span.index))
    this.#index = span.index + skipped
    this.first = skipped === 0 ? span.first : block.positions ? block.positions[this.#index]! : span.first + skipped
    this.count = span.count - skipped
    this.#block = block
    this.#span = span
  }

  get end(): number {
    return this.#span.end
  }

  get last(): boolean {
    return this.#span.last
  }

  get appendTimeMs(): number {
    return this.#span.appendTimeMs
  }

  get mark(): SourceMark | undefined {
    return this.#span.mark
  }

  records(): RecordCursor {
    if (this.#block.isGone) throw blockGone()
    return new SealedRecords(this.#block, this.#index, this.count)
  }
}
