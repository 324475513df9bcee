// A part of a file in memory, as a block of the log: one transaction. Its records are read when they are folded, straight into the
// run of whoever folds them; what the fast reader leaves goes through the contract's parser, one by one.
import { isUtf8 } from 'node:buffer'
import { type AnyRow, type JsonText, type RowView, RUN_ROWS_MAX } from '../../contract/index.ts'
import type { MainstemError } from '../../errors.ts'
import { blockGone, letGo } from '../let-go.ts'
import type { LogBlock, LogTopic, RecordCursor, RecordOp, SourceMark } from '../log.ts'
import { type RecordFormat, type RowForm, refusalAt } from './format.ts'

/** An empty object and its line feed. */
const LINE_BYTES_MIN = 3

/** A file, as its blocks need it. */
export interface BlockFile {
  readonly path: string
  readonly topic: LogTopic
  readonly format: RecordFormat
  /** Position of the file's first byte. */
  readonly base: number
  /** When it was written last. */
  readonly timeMs: number
  /** Takes a record that is none: throws, or lets it pass. @param position of the record */
  refuse(position: number, error: MainstemError): void
  /** Is told that all records of a block were read. @param end of the block */
  walked(end: number, records: number): void
}

export interface BlockParts {
  readonly file: BlockFile
  readonly text: JsonText
  /** Where its records stand in the text. */
  readonly from: number
  readonly to: number
  /** The byte of the file that stands at the text's beginning. */
  readonly offset: number
  /** The position of its last byte. */
  readonly end: number
  /** Records up to this position are left out. */
  readonly after: number
  /** The block before it in the file, or how many lines there are before it. */
  readonly before: FileBlock | number
}

export class FileBlock implements LogBlock {
  readonly parts: BlockParts
  readonly first: number
  readonly end: number
  readonly last = true
  readonly mark: SourceMark | undefined = undefined
  /** False where each line has to be looked at. */
  readonly isText: boolean
  #before: FileBlock | number
  #lines: number | undefined
  #count: number | undefined
  #isGone = false

  constructor(parts: BlockParts) {
    const { file, text, from, to, offset, end, after } = parts
    this.parts = parts
    this.first = Math.max(file.base + offset + from, after) + 1
    this.end = end
    this.isText = file.format.strideBytes !== undefined || isUtf8(text.buffer.subarray(from, to))
    this.#before = parts.before
  }

  get appendTimeMs(): number {
    return this.parts.file.timeMs
  }

  /** Of lines, which are counted when they are read: at most so many. */
  get count(): number {
    const { file, from, to, offset, after } = this.parts
    const bytes = to - Math.max(from, after - file.base - offset)
    return this.#count ?? Math.ceil(bytes / (file.format.strideBytes ?? LINE_BYTES_MIN))
  }

  /** Where the first record after `after` may begin. */
  start(passed: { lines: number }): number {
    const { file, text, from, to, offset, after } = this.parts
    const { format } = file
    let at = from
    const skipped = { lines: 0 }
    while (at < to) {
      const next = format.after(text.buffer, format.begin(text.buffer, at, to, skipped), to)
      if (file.base + offset + next > after) break
      passed.lines += skipped.lines + 1
      skipped.lines = 0
      at = next
    }
    return at
  }

  records(): RecordCursor {
    if (this.#isGone) throw blockGone()
    // From here on the block before it is not needed.
    if (typeof this.#before !== 'number') this.#before = this.#before.linesThrough
    return new FileRecords(this)
  }

  /** Says how many lines it has, and how many records, without those that were left out. */
  walked(lines: number, records: number): void {
    this.#lines = lines
    this.#count ??= records
    this.parts.file.walked(this.end, records)
  }

  /** Lines of the file up to the end of this block. */
  get linesThrough(): number {
    const { text, to } = this.parts
    this.#lines ??= this.#linesTo(to, text.buffer)
    return this.#linesBefore + this.#lines
  }

  /** Gives its memory back: its records cannot be read any more. */
  letGo(): void {
    // The next block counts its lines from here.
    void this.linesThrough
    this.#isGone = true
    letGo(this.parts.text.buffer)
  }

  get #linesBefore(): number {
    return typeof this.#before === 'number' ? this.#before : this.#before.linesThrough
  }

  #linesTo(at: number, buffer: Buffer): number {
    let lines = 0
    for (let p = this.parts.from; p < at; p++) if (buffer[p] === 10) lines++
    return lines
  }

  /** Passes over a record that is none. @throws where that is not wanted */
  refuse(at: number, next: number, error: unknown): void {
    const { file, text, offset } = this.parts
    const isLine = file.format.strideBytes === undefined
    const line = isLine ? this.#linesBefore + this.#linesTo(at, text.buffer) + 1 : undefined
    file.refuse(file.base + offset + next, refusalAt(error, { file: file.path, byte: offset + at, line }))
  }
}

class FileRecords implements RecordCursor {
  readonly #block: FileBlock
  readonly #text: JsonText
  readonly #format: RecordFormat
  /** The position of the text's beginning. */
  readonly #base: number
  readonly #to: number
  readonly #op: RecordOp
  readonly #counted = { lines: 0 }
  #records = 0
  /** The record at hand, and the place after it. */
  #at = 0
  #next = 0
  /** Where the next one is looked for. */
  #from: number
  #form: RowForm | undefined
  #row: AnyRow | null = null

  constructor(block: FileBlock) {
    const { file, text, to, offset } = block.parts
    this.#block = block
    this.#text = text
    this.#format = file.format
    this.#base = file.base + offset
    this.#to = to
    this.#op = file.topic.contract.kind === 'table' ? 'insert' : 'event'
    this.#from = block.start(this.#counted)
  }

  next(): boolean {
    for (;;) {
      const at = this.#format.begin(this.#text.buffer, this.#from, this.#to, this.#counted)
      if (at >= this.#to) {
        this.#from = at
        this.#block.walked(this.#counted.lines, this.#records)
        return false
      }
      this.#counted.lines++
      if (!this.#peek(at) && !this.#parse(at)) continue
      this.#records++
      return true
    }
  }

  #peek(at: number): boolean {
    const form = this.#block.isText ? this.#format.formAt(this.#text, at, this.#to) : undefined
    const next = form?.read(form.peek.source, this.#text, at, 0)
    if (next === undefined) return false
    this.#form = form
    this.#at = at
    this.#from = this.#next = Math.min(next, this.#to)
    return true
  }

  #parse(at: number): boolean {
    const { buffer } = this.#text
    this.#form = undefined
    this.#at = at
    this.#from = this.#next = this.#format.after(buffer, at, this.#to)
    try {
      this.#row = this.#format.row(buffer, at, this.#next)
      return true
    } catch (error) {
      this.#block.refuse(at, this.#next, error)
      return false
    }
  }

  get position(): number {
    return this.#base + this.#next
  }

  get topic(): LogTopic {
    return this.#block.parts.file.topic
  }

  get op(): RecordOp {
    return this.#op
  }

  before(): null {
    return null
  }

  after(): AnyRow {
    const { buffer } = this.#text
    return this.#form === undefined ? structuredClone(this.#row!) : this.#format.row(buffer, this.#at, this.#next)
  }

  lendBefore(): null {
    return null
  }

  lendAfter(): AnyRow | null {
    if (this.#form === undefined) return this.#row
    const { after } = this.#form.lender
    after.source.at = 0
    this.#takePeeked(this.#form, 0)
    return after.row
  }

  recall(): void {
    this.#form?.lender.recall()
  }

  get lender(): RowView | undefined {
    return this.#form?.lender.after
  }

  lendRun(): number {
    const form = this.#form!
    const { source } = form.lender.after
    const first = source.count
    this.#takePeeked(form, first)
    source.positions[first] = this.position
    const row = form.readRun ? this.#readRun(form, form.readRun, first + 1) : this.#readEach(form, first + 1)
    const count = row - first
    this.#counted.lines += count - 1
    this.#records += count - 1
    source.count = row
    return count
  }

  /** Reads the records that follow, from a row of the run on, up to one of another form or that is not sure; gives the row after them. */
  #readEach(form: RowForm, first: number): number {
    const format = this.#format
    const text = this.#text
    const { source } = form.lender.after
    let row = first
    let at = this.#from
    for (; row < RUN_ROWS_MAX; row++) {
      at = format.begin(text.buffer, at, this.#to, this.#counted)
      if (at >= this.#to || format.formAt(text, at, this.#to) !== form) break
      const end = form.read(source, text, at, row)
      // What is not sure is asked of the contract's parser, by itself.
      if (end === undefined) break
      this.#at = at
      at = this.#next = Math.min(end, this.#to)
      source.positions[row] = this.#base + at
    }
    this.#from = at
    return row
  }

  /** The same of records that are all of one form and length. */
  #readRun({ lender }: RowForm, readRun: NonNullable<RowForm['readRun']>, first: number): number {
    const stride = this.#format.strideBytes!
    const { source } = lender.after
    const { positions } = source
    const from = this.#from
    const left = Math.floor((this.#to - from) / stride)
    const row = readRun(source, this.#text, from, first, Math.min(RUN_ROWS_MAX, first + left))
    if (row === first) return row
    const before = this.#base + from - (first - 1) * stride
    for (let n = first; n < row; n++) positions[n] = before + n * stride
    this.#from = this.#next = from + (row - first) * stride
    this.#at = this.#next - stride
    return row
  }

  parked(): null {
    return null
  }

  /** Puts the row that `next` has read into the run. */
  #takePeeked({ lender, peek }: RowForm, row: number): void {
    const { source } = lender.after
    const { words, refs } = peek.source
    for (let n = 0; n < words.length; n += RUN_ROWS_MAX) source.words[n + row] = words[n]!
    for (let n = 0; n < refs.length; n += RUN_ROWS_MAX) source.refs[n + row] = refs[n]
    source.openWith(this.#text.buffer)
  }
}
