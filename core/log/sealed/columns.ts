// The stored forms of a column. Numbers: one constant, or the distance from a base in 1 bit or 1, 2, 4 bytes, or 8-byte floats,
// whichever is least and exact. Bigints: numbers, or 64-bit integers, or decimal text. Bytes and text: a dictionary and codes
// where values repeat, else all of them one after the other. In the image before of updates: "same as after".
import type { ByteWriter } from '../../contract/index.ts'
import { BigintBuilder, type ColumnBuilder, HeapBuilder, NumberBuilder } from './builders.ts'
import { type StoredColumn, sectionsOf } from './column-heads.ts'
import { NumberColumn } from './number-column.ts'
import { alignedView, type Sections, type SectionWriter } from './sections.ts'
import { BITS, CONST, DICTIONARY, F64, HEAP, I64, SAME, STEPS, U8, U16, U32 } from './stored-forms.ts'

const LOW = -0x8000_0000_0000_0000n
const HIGH = 0x7fff_ffff_ffff_ffffn

/** Where the parts of a column go: numbers into the head, bytes into sections. */
export interface ColumnSink {
  readonly head: ByteWriter
  readonly sections: SectionWriter
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

export function writeSame({ head }: ColumnSink): void {
  head.u8(SAME)
}

/** The least and greatest value of a column of a block. */
export interface Zone {
  readonly min: number
  readonly max: number
}

/** Writes what a builder holds; its zone, if it is one of numbers and has any. */
export function writeColumn(sink: ColumnSink, builder: ColumnBuilder): Zone | undefined {
  if (builder instanceof HeapBuilder) {
    writeHeap(sink, builder)
    return undefined
  }
  if (builder instanceof BigintBuilder && builder.wides.size > 0) {
    writeWides(sink, builder)
    return undefined
  }
  const numbers = (builder instanceof BigintBuilder ? builder.numbers : builder).take()
  writeNumbers(sink, numbers)
  return numbers.min === undefined || numbers.max === undefined ? undefined : { min: numbers.min, max: numbers.max }
}

/** True where both hold the same values at the same places. Asked before either is written. */
export function sameColumn(left: ColumnBuilder, right: ColumnBuilder): boolean {
  if (left.count !== right.count) return false
  if (left instanceof NumberBuilder) {
    if (!(right instanceof NumberBuilder) || !left.sameBlanks(right)) return false
    for (let n = 0; n < left.count; n++) if (!Object.is(left.values[n], right.values[n])) return false
    return true
  }
  if (left instanceof BigintBuilder) {
    if (!(right instanceof BigintBuilder) || left.wides.size !== right.wides.size) return false
    for (const [n, text] of left.wides) if (right.wides.get(n) !== text) return false
    return sameColumn(left.numbers, right.numbers)
  }
  if (!(right instanceof HeapBuilder) || left.entries !== right.entries || left.used !== right.used) return false
  for (let n = 0; n < left.count; n++) if (left.codes[n] !== right.codes[n]) return false
  for (let n = 0; n < left.entries; n++) if (left.lengths[n] !== right.lengths[n]) return false
  return left.bytes.compare(right.bytes, 0, right.used, 0, left.used) === 0
}

interface Numbers {
  readonly values: Float64Array
  readonly min: number | undefined
  readonly max: number | undefined
}

export function numbersOf(values: Float64Array): Numbers {
  let min = values[0] ?? 0
  let max = min
  for (const value of values) {
    if (value < min) min = value
    if (value > max) max = value
  }
  return { values, min, max }
}

export function writeNumbers({ head, sections }: ColumnSink, { values, min = 0, max = 0 }: Numbers): void {
  if (min === max && !hasNegativeZero(values, min)) {
    head.u8(CONST)
    head.f64(min)
    return
  }
  const whole = isWhole(values, min, max)
  const range = max - min
  const form =
    !whole || range > 0xffff_ffff ? F64 : range <= 1 ? BITS : range <= 0xff ? U8 : range <= 0xffff ? U16 : U32
  const steps = whole ? stepsOf(values, range) : undefined
  if (steps) {
    head.u8(STEPS)
    head.f64(values[0]!)
    writeNumbers({ head, sections }, steps)
    return
  }
  head.u8(form)
  if (form === F64) {
    head.varint(sections.add(bytesOf(values.slice())))
    return
  }
  head.f64(min)
  if (form === BITS) {
    const bits = new Uint8Array((values.length + 7) >>> 3)
    for (let i = 0; i < values.length; i++) if (values[i] !== min) bits[i >>> 3]! |= 1 << (i & 7)
    head.varint(sections.add(bits))
    return
  }
  const Stored = form === U8 ? Uint8Array : form === U16 ? Uint16Array : Uint32Array
  const stored = new Stored(values.length)
  for (let i = 0; i < values.length; i++) stored[i] = values[i]! - min
  head.varint(sections.add(bytesOf(stored)))
}

/** The differences of neighbours, where they take a quarter of the room or less: counters, times. */
function stepsOf(values: Float64Array, range: number): Numbers | undefined {
  if (values.length < 8 || range < 0x100) return undefined
  let min = values[1]! - values[0]!
  let max = min
  for (let n = 1; n < values.length; n++) {
    const step = values[n]! - values[n - 1]!
    if (step < min) min = step
    else if (step > max) max = step
    if (max - min > 0xff) return undefined
  }
  if (max !== min && range <= 0xffff && max - min > 1) return undefined
  const steps = new Float64Array(values.length).fill(min)
  for (let n = 1; n < values.length; n++) steps[n] = values[n]! - values[n - 1]!
  return { values: steps, min, max }
}

const hasNegativeZero = (values: Float64Array, min: number): boolean =>
  min === 0 && values.some(value => Object.is(value, -0))

function isWhole(values: Float64Array, min: number, max: number): boolean {
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max)) return false
  for (const value of values) if (!Number.isInteger(value) || (value === 0 && Object.is(value, -0))) return false
  return true
}

function writeWides(sink: ColumnSink, builder: BigintBuilder): void {
  const { values } = builder.numbers.take()
  const all = BigInt64Array.from(values, value => BigInt(value))
  let fits = true
  for (const [index, text] of builder.wides) {
    const value = BigInt(text)
    if (value < LOW || value > HIGH) fits = false
    else all[index] = value
  }
  if (fits) {
    sink.head.u8(I64)
    sink.head.varint(sink.sections.add(bytesOf(all)))
    return
  }
  const heap = new HeapBuilder()
  for (let n = 0; n < values.length; n++) {
    const text = Buffer.from(builder.wides.get(n) ?? String(values[n]))
    heap.push(text, 0, text.length)
  }
  writeHeap(sink, heap)
}

function writeHeap(sink: ColumnSink, heap: HeapBuilder): void {
  const { head, sections } = sink
  if (heap.isDictionary) {
    head.u8(DICTIONARY)
    head.varint(heap.entries)
    writeNumbers(sink, numbersOf(heap.lengths.subarray(0, heap.entries)))
    head.varint(sections.add(Buffer.from(heap.bytes.subarray(0, heap.used))))
    writeNumbers(sink, numbersOf(Float64Array.from(heap.codes.subarray(0, heap.count))))
    return
  }
  const lengths = new Float64Array(heap.count)
  let bytes = 0
  for (let n = 0; n < heap.count; n++) bytes += lengths[n] = heap.lengths[heap.codes[n]!]!
  const all = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (let n = 0; n < heap.count; n++) {
    const offset = heap.offsets[heap.codes[n]!]!
    at += heap.bytes.copy(all, at, offset, offset + lengths[n]!)
  }
  head.u8(HEAP)
  writeNumbers(sink, numbersOf(lengths))
  head.varint(sections.add(all))
}

/** Where it is noted that a column was asked for. */
export interface ColumnMark {
  readonly asked: Uint8Array
  readonly at: number
}

/** A column of a block, unpacked when it is first asked for its values. */
export class ColumnData {
  readonly count: number
  readonly #mark: ColumnMark
  readonly #sections: Sections
  readonly #form: StoredColumn
  #numbers: Float64Array | undefined
  #stored: NumberColumn | undefined
  #codes: Uint32Array | undefined
  #heap: Buffer | undefined
  #offsets: Uint32Array | undefined
  #strings: (string | undefined)[] | undefined
  #bigints: BigInt64Array | undefined

  /** @throws RangeError where a dictionary has more entries than values: it would be no use, and might fill the memory */
  constructor(form: StoredColumn, count: number, sections: Sections, mark: ColumnMark) {
    if ((form.entries ?? 0) > count) throw new RangeError('a dictionary has more entries than its column has values')
    this.#form = form
    this.count = count
    this.#sections = sections
    this.#mark = mark
  }

  /** True where one such column was asked for before, in this block or another that its reader was given. */
  get wasAsked(): boolean {
    return this.#mark.asked[this.#mark.at] === 1
  }

  #asked(): void {
    this.#mark.asked[this.#mark.at] = 1
  }

  /** The sections that hold it. */
  sections(): Iterable<number> {
    return sectionsOf(this.#form)
  }

  /** True where values are codes into `dictionary()`. */
  get isDictionary(): boolean {
    return this.#form.form === DICTIONARY
  }

  /** Looks at what is stored as asking for a value does, and makes texts ready. @throws RangeError */
  unpack(): void {
    const { form, lengths } = this.#form
    if (lengths) this.#open()
    else if (form !== I64) this.#asStored()
  }

  #asStored(): NumberColumn {
    this.#stored ??= new NumberColumn(this.#form, this.count, this.#sections)
    return this.#stored
  }

  /** Makes texts and bytes ready to be asked for. @throws RangeError */
  open(): void {
    this.#asked()
    this.#open()
  }

  /** Gives the numbers of some values. @throws RangeError */
  fill(target: Float64Array, at: number, from: number, count: number): void {
    this.#asked()
    this.#asStored().fill(target, at, from, count)
  }

  /** Gives some bigints: as numbers, or, where one is no safe integer, −Infinity and a reference. @throws RangeError */
  fillBigints(words: Float64Array, at: number, refs: unknown[], refAt: number, from: number, count: number): void {
    const { form } = this.#form
    if (form !== I64 && form !== HEAP && form !== DICTIONARY) {
      this.fill(words, at, from, count)
      return
    }
    for (let n = 0; n < count; n++) {
      const value = this.bigint(from + n)
      const number = Number(value)
      const fits = Number.isSafeInteger(number)
      words[at + n] = fits ? number : Number.NEGATIVE_INFINITY
      refs[refAt + n] = fits ? undefined : value
    }
  }

  numbers(): Float64Array {
    if (!this.#numbers) {
      this.#asked()
      this.#numbers = readNumbers(this.#form, this.count, this.#sections)
    }
    return this.#numbers
  }

  codes(): Uint32Array {
    const { codes } = this.#form
    if (!codes) throw new RangeError('the column has no dictionary')
    if (!this.#codes) {
      const { entries = 0 } = this.#form
      const read = readIntegers(codes, this.count, this.#sections)
      for (let n = 0; n < read.length; n++)
        if (read[n]! >= entries) throw new RangeError('a code is beyond its dictionary')
      this.#codes = read
    }
    return this.#codes
  }

  /** Text of each dictionary entry. */
  dictionary(): readonly string[] {
    this.#open()
    const strings = this.#strings ?? []
    for (let n = 0; n < strings.length; n++) strings[n] ??= this.#text(n)
    return strings as readonly string[]
  }

  text(index: number): string {
    this.#open()
    if (!this.#strings) return this.#text(index)
    const code = this.#codes![index]!
    const known = this.#strings[code]
    if (known !== undefined) return known
    const text = this.#text(code)
    this.#strings[code] = text
    return text
  }

  /** Not a copy. */
  bytes(index: number): Buffer {
    this.#open()
    const entry = this.#codes ? this.#codes[index]! : index
    return this.#heap!.subarray(this.#offsets![entry], this.#offsets![entry + 1])
  }

  get heap(): Buffer {
    this.#open()
    return this.#heap!
  }

  get offsets(): Uint32Array {
    this.#open()
    return this.#offsets!
  }

  get entries(): Uint32Array | undefined {
    this.#open()
    return this.#codes
  }

  bigint(index: number): bigint {
    const { form } = this.#form
    if (form === HEAP || form === DICTIONARY) return BigInt(this.text(index))
    if (form !== I64) return BigInt(this.numbers()[index]!)
    if (!this.#bigints) {
      this.#asked()
      const bytes = alignedView(this.#sections.get(this.#form.section!))
      if (bytes.length !== this.count * 8) throw new RangeError('a column has another length than its block says')
      this.#bigints = new BigInt64Array(bytes.buffer, bytes.byteOffset, this.count)
    }
    return this.#bigints[index]!
  }

  #text(entry: number): string {
    return this.#heap!.toString('utf8', this.#offsets![entry], this.#offsets![entry + 1])
  }

  #open(): void {
    if (this.#heap) return
    this.#asked()
    const { form, lengths, section, entries } = this.#form
    if (!lengths || section === undefined) throw new RangeError('the column has no text')
    const count = form === DICTIONARY ? entries! : this.count
    const offsets = new Uint32Array(count + 1)
    let at = 0
    eachPart(lengths, count, this.#sections, (part, from, some) => {
      for (let n = 0; n < some; n++) offsets[from + n + 1] = at += part[n]!
    })
    const heap = this.#sections.get(section)
    if (at !== heap.length) throw new RangeError('a heap has another length than its values')
    if (form === DICTIONARY) {
      this.codes()
      this.#strings = new Array(count).fill(undefined)
    }
    this.#offsets = offsets
    this.#heap = heap
  }
}

const PART = 1024
const part = new Float64Array(PART)

/** Calls back with a column's numbers, part by part; they are there until it returns. @throws RangeError */
function eachPart(
  column: StoredColumn,
  count: number,
  sections: Sections,
  take: (part: Float64Array, from: number, count: number) => void,
): void {
  const stored = new NumberColumn(column, count, sections)
  for (let from = 0; from < count; from += PART) {
    const some = Math.min(PART, count - from)
    stored.fill(part, 0, from, some)
    take(part, from, some)
  }
}

/** A column of integers of 32 bits. @throws RangeError */
export function readIntegers(column: StoredColumn, count: number, sections: Sections): Uint32Array<ArrayBuffer> {
  const values = new Uint32Array(count)
  eachPart(column, count, sections, (some, from, n) => {
    for (let i = 0; i < n; i++) values[from + i] = some[i]!
  })
  return values
}

/** @throws RangeError */
export function readNumbers(column: StoredColumn, count: number, sections: Sections): Float64Array {
  if (column.form === F64 && column.section !== undefined) {
    const bytes = alignedView(sections.get(column.section))
    if (bytes.length !== count * 8) throw new RangeError('a column has another length than its block says')
    return new Float64Array(bytes.buffer, bytes.byteOffset, count)
  }
  const stored = new NumberColumn(column, count, sections)
  const values = new Float64Array(count)
  stored.fill(values, 0, 0, count)
  return values
}
