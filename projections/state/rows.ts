// The rows of one view by their places: fixed strides of float64 words in pages of 1 MiB, what is no number in an array beside
// them. A row's number is its place and stays while it lives; places of rows that left are taken again. Memory is counted as it
// is taken: beyond the limit a row is refused with a typed error.
import { type AnyRow, type ByteReader, type ByteWriter, type Field, fail, type ObjectType } from '../../core/index.ts'
import { type DraftCode, draftCode, heldBytes } from './draft.ts'
import { isDeepEqual, isSameMap } from './equality.ts'
import { FLAGS, KEY, type Layout, layoutOf, SUPPORT, SUPPORT_MAX } from './layout.ts'
import type { StateMemory } from './memory.ts'
import { Place } from './place.ts'
import { RowList } from './row-list.ts'
import { type Page, pageOf, type RowPlaces } from './row-places.ts'
import { type StoredCode, storedCode } from './stored-code.ts'

/** Of a page, unless one row alone is larger: what a view has in its last page and does not use is little. */
const PAGE_WORDS = (1024 * 1024) / 8
const ROW_WORDS_MAX = (4 * 1024 * 1024) / 8
const WORD_BYTES = 8
/** Writes of so many bytes to the heap may pass before the limit is looked at. */
const HEAP_LOOK_BYTES = 64 * 1024

/** A view's definition, as far as its rows need it. */
export interface Named {
  readonly name: string
}

export class Rows implements RowPlaces {
  readonly layout: Layout
  /** What handlers are given; it is the row to which `open` has stepped. */
  readonly draft: AnyRow
  readonly at = new Place()
  readonly #code: DraftCode
  readonly #stored: StoredCode
  readonly #memory: StateMemory
  readonly #template: Page
  readonly #templateBytes: number
  readonly shift: number
  readonly mask: number
  readonly pages: Page[] = []
  #free = new RowList()
  /** Places handed out so far, those free again too. */
  #rows = 0
  #pageBytes = 0
  /** Bytes in the heap for which the memory has been asked. */
  #heapTaken = 0

  /**
   * @param definition what the rows are of; accessors are made once for each
   * @param hidden fields that are kept and shown to nobody: maps, which begin empty
   * @param zero a new row, as a plain object, with its hidden fields
   * @throws DEFINITION_INVALID when the new row is not of its own type
   */
  constructor(definition: Named, type: ObjectType, hidden: readonly Field[], zero: AnyRow, memory: StateMemory) {
    const layout = layoutOf(type, hidden)
    if (layout.words > ROW_WORDS_MAX) {
      throw fail('DEFINITION_INVALID', `the state of '${definition.name}' has ${layout.words} fields`, {
        detail: `the limit is ${ROW_WORDS_MAX}`,
      })
    }
    this.layout = layout
    this.#memory = memory
    this.shift = Math.max(0, Math.floor(Math.log2(PAGE_WORDS / Math.max(layout.words, layout.refs))))
    this.mask = (1 << this.shift) - 1
    this.#code = draftCode(definition, layout, `a row of '${definition.name}'`)
    this.#stored = storedCode(definition, layout)
    this.draft = this.#code.row(this.at)
    this.#template = pageOf(layout.words, layout.refs)
    this.#templateBytes = this.#begin(zero)
  }

  /** Makes the template of new rows by writing one. */
  #begin(zero: AnyRow): number {
    const at = this.at
    at.words = this.#template.words
    at.halves = this.#template.halves
    at.refs = this.#template.refs
    at.base = at.refBase = 0
    this.#writeRow(zero)
    this.close()
    at.heapBytes = 0
    const { refs } = this.#template
    // Maps are live: each row gets its own when it is first read.
    for (const [ref, value] of refs.entries()) if (value instanceof Map) refs[ref] = new Map(value)
    for (const ref of this.layout.maps)
      if ((refs[ref] as Map<unknown, unknown> | undefined)?.size === 0) refs[ref] = undefined
    return refs.reduce<number>((sum, value) => sum + heldBytes(value), 0)
  }

  #writeRow(value: AnyRow): void {
    for (const { name } of this.layout.fields) this.draft[name] = value[name]
    for (const { name } of this.layout.hidden) this.draft[name] = value[name]
  }

  /** Bytes that its pages take. */
  protected get pageBytes(): number {
    return this.#pageBytes
  }

  /** About how many bytes are in V8's heap: strings, nested values and maps. */
  get heapBytes(): number {
    return this.#heapTaken + this.at.heapBytes
  }

  /** Places handed out so far: every row is below. */
  get places(): number {
    return this.#rows
  }

  /** A free place; what it holds is undefined. */
  protected place(): number {
    if (this.#free.length > 0) return this.#free.pop()
    if (this.#rows === this.pages.length << this.shift) this.#addPage()
    return this.#rows++
  }

  #addPage(): void {
    const { words, refs } = this.layout
    const rows = 1 << this.shift
    const bytes = rows * (words + refs) * WORD_BYTES
    this.#memory.take(bytes)
    this.#pageBytes += bytes
    this.pages.push(pageOf(rows * words, rows * refs))
  }

  protected release(row: number): void {
    const { refs, words } = this.pageOf(row)
    words[this.baseOf(row) + KEY] = Number.NaN
    const from = this.refBaseOf(row)
    for (let n = 0; n < this.layout.refs; n++) {
      this.at.heapBytes -= heldBytes(refs[from + n])
      refs[from + n] = undefined
    }
    this.#free.push(row)
  }

  /** Makes a row that of a key, without support and flags. */
  protected begins(row: number, key: number): void {
    const { words, halves } = this.pageOf(row)
    const base = this.baseOf(row)
    words[base + KEY] = key
    halves[base * 2 + SUPPORT] = halves[base * 2 + FLAGS] = 0
    this.clear(row)
  }

  /** Sets a row's values to those of a new one; its key, support and flags stay. */
  clear(row: number): void {
    const { halves, refs } = this.pageOf(row)
    const base = this.baseOf(row) * 2
    const template = this.#template
    const end = this.layout.words * 2
    for (let n = FLAGS + 1; n < end; n++) halves[base + n] = template.halves[n]!
    const from = this.refBaseOf(row)
    let bytes = this.#templateBytes
    for (let n = 0; n < this.layout.refs; n++) {
      bytes -= heldBytes(refs[from + n])
      refs[from + n] = template.refs[n]
    }
    this.at.heapBytes += bytes
  }

  /** A copy of a row that no key leads to. It goes by `releaseCopy`. */
  copy(row: number): number {
    const copy = this.place()
    const [from, to] = [this.pageOf(row), this.pageOf(copy)]
    const base = this.baseOf(row) * 2
    const baseTo = this.baseOf(copy) * 2
    const end = this.layout.words * 2
    // By halves: two of them that are no float must not be read as one.
    for (let n = 0; n < end; n++) to.halves[baseTo + n] = from.halves[base + n]!
    to.halves[baseTo + FLAGS] = 0
    this.setKeyAt(copy, Number.NaN)
    const [refsFrom, refsTo] = [this.refBaseOf(row), this.refBaseOf(copy)]
    for (let n = 0; n < this.layout.refs; n++) {
      const value = from.refs[refsFrom + n]
      const kept = value instanceof Map ? new Map(value) : value
      to.refs[refsTo + n] = kept
      this.at.heapBytes += heldBytes(kept)
    }
    return copy
  }

  releaseCopy(row: number): void {
    this.release(row)
  }

  /** Steps the accessors to a row. */
  open(row: number): void {
    const at = this.at
    const page = this.pages[row >>> this.shift]!
    at.words = page.words
    at.halves = page.halves
    at.base = (row & this.mask) * this.layout.words
    at.refs = page.refs
    at.refBase = (row & this.mask) * this.layout.refs
  }

  /** Ends the use of the accessors. */
  close(): void {
    this.at.base = -1
  }

  /** Flags of the row at which the accessors stand. */
  get openFlags(): number {
    const at = this.at
    return at.halves[at.base * 2 + FLAGS]!
  }

  /** Changes the support of the row at which the accessors stand, and ends their use. @throws STATE_TOO_LARGE, STATE_INVALID */
  closeWith(weight: number): void {
    const at = this.at
    const { halves } = at
    const place = at.base * 2 + SUPPORT
    const support = halves[place]!
    if (support !== SUPPORT_MAX) halves[place] = support + weight
    else if (weight < 0) throw uncounted()
    at.base = -1
    if (at.heapBytes >= HEAP_LOOK_BYTES || at.heapBytes <= -HEAP_LOOK_BYTES) this.checkHeap()
  }

  /** Counts bytes that are in the heap for the rows' sake. @throws STATE_TOO_LARGE */
  countHeap(bytes: number): void {
    this.at.heapBytes += bytes
    this.checkHeap()
  }

  /** Asks the memory for what values have grown by. @throws STATE_TOO_LARGE */
  checkHeap(): void {
    const grown = this.at.heapBytes
    if (grown < HEAP_LOOK_BYTES && grown > -HEAP_LOOK_BYTES) return
    this.#memory.takeHeap(grown)
    this.#heapTaken += grown
    this.at.heapBytes = 0
  }

  support(row: number): number {
    return this.pageOf(row).halves[this.baseOf(row) * 2 + SUPPORT]!
  }

  setSupport(row: number, support: number): void {
    this.pageOf(row).halves[this.baseOf(row) * 2 + SUPPORT] = Math.min(support, SUPPORT_MAX)
  }

  flags(row: number): number {
    return this.pageOf(row).halves[this.baseOf(row) * 2 + FLAGS]!
  }

  setFlags(row: number, flags: number): void {
    this.pageOf(row).halves[this.baseOf(row) * 2 + FLAGS] = flags
  }

  /** A row as a plain object of its own. */
  toObject(row: number): AnyRow {
    const { words, halves, refs } = this.pageOf(row)
    return this.#code.toObject(words, halves, this.baseOf(row), refs, this.refBaseOf(row))
  }

  /** The same with its hidden fields, as `assign` takes it. */
  toStored(row: number): AnyRow {
    const { words, halves, refs } = this.pageOf(row)
    return this.#code.toStored(words, halves, this.baseOf(row), refs, this.refBaseOf(row))
  }

  /** Appends all fields of a row, its hidden ones too, as the row codec writes them. */
  writeStored(row: number, writer: ByteWriter): void {
    const { words, halves, refs } = this.pageOf(row)
    this.#stored.encode(writer, words, halves, this.baseOf(row), refs, this.refBaseOf(row))
  }

  /** Sets all fields of a row from what `writeStored` wrote. @throws RangeError where it is not of this layout */
  readStored(row: number, reader: ByteReader): void {
    const { words, halves, refs } = this.pageOf(row)
    this.at.heapBytes += this.#stored.decode(reader, words, halves, this.baseOf(row), refs, this.refBaseOf(row))
  }

  /** Writes all fields of a row. @throws STATE_INVALID */
  assign(row: number, value: AnyRow): void {
    this.open(row)
    this.#writeRow(value)
    this.close()
  }

  /** Whether two rows have equal values; keys, support, flags and hidden fields aside. */
  isEqual(a: number, b: number): boolean {
    const { shownWords, shownRefs } = this.layout
    return this.#equals(a, this.pageOf(b), this.baseOf(b), this.refBaseOf(b), shownWords, shownRefs, false)
  }

  /** Whether a row is as it began; floats aside, since their sums drift. */
  isZero(row: number): boolean {
    return this.#equals(row, this.#template, 0, 0, this.layout.words, this.layout.refs, true)
  }

  #equals(
    row: number,
    other: Page,
    otherBase: number,
    otherRefBase: number,
    wordsEnd: number,
    refsEnd: number,
    drift: boolean,
  ): boolean {
    const { halves, refs } = this.pageOf(row)
    const base = this.baseOf(row) * 2
    const end = wordsEnd * 2
    // All that is NaN stands for null, and is written as the one constant: equal values have equal bits.
    for (let n = FLAGS + 1; n < end; n++) {
      if (halves[base + n] === other.halves[otherBase * 2 + n]) continue
      if (!drift || !this.layout.drifting.has(n >>> 1)) return false
    }
    const refBase = this.refBaseOf(row)
    const { maps } = this.layout
    for (let n = 0; n < refsEnd; n++) {
      const isEqual = maps.has(n) ? isSameMap : isDeepEqual
      if (!isEqual(refs[refBase + n], other.refs[otherRefBase + n])) return false
    }
    return true
  }

  /** Lets all rows go, and the memory that they took. */
  protected dropRows(): void {
    this.close()
    this.#memory.release(this.#pageBytes, this.#heapTaken)
    this.pages.length = 0
    this.#free = new RowList()
    this.#rows = this.#pageBytes = this.#heapTaken = this.at.heapBytes = 0
  }

  /** What stands for a row's key in it: a number, or where the key's bytes are. */
  protected keyAt(row: number): number {
    return this.pageOf(row).words[this.baseOf(row) + KEY]!
  }

  protected setKeyAt(row: number, key: number): void {
    this.pageOf(row).words[this.baseOf(row) + KEY] = key
  }

  protected pageOf(row: number): Page {
    return this.pages[row >>> this.shift]!
  }

  protected baseOf(row: number): number {
    return (row & this.mask) * this.layout.words
  }

  protected refBaseOf(row: number): number {
    return (row & this.mask) * this.layout.refs
  }
}

const uncounted = () =>
  fail('STATE_INVALID', `a row stands for more than ${SUPPORT_MAX} rows`, {
    detail: 'of so many it is not counted when one is removed; key the view by a finer key',
  })
