// How records stand in a file, and what reads them: the fast reader of each variant, and the contract's own parser for what that one
// leaves, and for every error.
import { isUtf8 } from 'node:buffer'
import {
  type AnyRow,
  type BinaryLayout,
  ByteReader,
  ByteWriter,
  type Contract,
  createBinaryRowReader,
  createJsonRowReader,
  createRowCodec,
  createRowViewCode,
  describeRecord,
  fromWire,
  type JsonText,
  type RowCodec,
  type RowSource,
  type RowView,
  type Variant,
} from '../../contract/index.ts'
import { asMainstemError, fail, type MainstemError, textOf } from '../../errors.ts'
import { RowLender } from '../topics.ts'

/** Lines of JSON, an object each; or records of one length. */
export type FileFormat = 'ndjson' | BinaryLayout

/** Rows of one variant: who lends them, and what reads them into a run. */
export interface RowForm {
  readonly lender: RowLender
  /** One row of their own, read before it is known which run it belongs to. */
  readonly peek: RowView
  /** Reads the record at a place into row `row`; gives the place after the record, undefined where it is not sure. */
  read(source: RowSource, text: JsonText, at: number, row: number): number | undefined
  /** Where all records are of one form and length: reads those that follow each other as rows `from` to `to`; gives the row of the first that is not sure. */
  readonly readRun?: (source: RowSource, text: JsonText, at: number, from: number, to: number) => number
}

/** What a topic's records in a file are read by. */
export interface RecordFormat {
  /** Of records, where they are all of one length. */
  readonly strideBytes: number | undefined
  /** From a place on, where a record begins; `end` where there is none. `skipped.lines` counts lines without any. */
  begin(buffer: Buffer, at: number, end: number, skipped: { lines: number }): number
  /** The place after the record that begins at a place. */
  after(buffer: Buffer, at: number, end: number): number
  /** What reads the record at a place; undefined where only `row` can. */
  formAt(text: JsonText, at: number, end: number): RowForm | undefined
  /** The record, as the log would keep it. @throws RECORD_REFUSED, RECORD_TOO_LARGE, CONTRACT_… */
  row(buffer: Buffer, at: number, end: number): AnyRow
}

/** @throws DEFINITION_INVALID */
export const recordFormat = (contract: Contract, format: FileFormat): RecordFormat =>
  format === 'ndjson' ? new JsonFormat(contract) : new BinaryFormat(contract, format)

/** What a row becomes in the log: its stored form, read back. */
class Kept {
  readonly #contract: Contract
  readonly #codecs: readonly RowCodec[]
  readonly #writer = new ByteWriter()

  constructor(contract: Contract) {
    this.#contract = contract
    this.#codecs = contract.variants.map(({ type }) => createRowCodec(type))
  }

  /** @throws RECORD_REFUSED */
  row(input: unknown): AnyRow {
    const row = this.#contract.parse(input)
    const codec = this.#codecs[this.#contract.variantOf(row)]!
    this.#writer.at = 0
    codec.encode(this.#writer, row)
    return codec.decode(new ByteReader(this.#writer.copy()))
  }
}

function lenderOf({ type }: Variant, name: string): Pick<RowForm, 'lender' | 'peek'> {
  const code = createRowViewCode(type, name)
  return { lender: new RowLender(code), peek: code.view() }
}

const LINE_FEED = 10
const isSpace = (c: number | undefined): boolean => c === 32 || c === 9 || c === 13

class JsonFormat implements RecordFormat {
  readonly strideBytes = undefined
  readonly #name: string
  readonly #input: ReturnType<typeof describeRecord>
  readonly #kept: Kept
  readonly #discriminator: string | undefined
  /** By the variant's name; undefined where there is one variant only. */
  readonly #forms: ReadonlyMap<string | undefined, RowForm>
  readonly #only: RowForm | undefined

  constructor(contract: Contract) {
    const { name, schema, variants, discriminator } = contract
    this.#name = name
    this.#input = describeRecord(schema, 'input', name)
    this.#kept = new Kept(contract)
    this.#discriminator = discriminator
    // A union with refinements of its own is judged as a whole.
    const judged = discriminator !== undefined && (schema._zod.def.checks?.length ?? 0) > 0
    this.#forms = new Map((judged ? [] : variants).flatMap(variant => this.#form(variant)))
    this.#only = discriminator === undefined ? this.#forms.get(undefined) : undefined
  }

  #form(variant: Variant): readonly (readonly [string | undefined, RowForm])[] {
    const parts = lenderOf(variant, this.#name)
    const reader = createJsonRowReader(variant.schema, parts.lender.code.fields)
    if (!reader) return []
    const read: RowForm['read'] = (source, text, at, row) => {
      const p = reader.read(source, text, at, row)
      if (p === undefined) return undefined
      if (text.buffer[p] === LINE_FEED) return p + 1
      const q = text.space(p)
      return text.buffer[q] === LINE_FEED ? q + 1 : undefined
    }
    return [[variant.name, { ...parts, read }]]
  }

  begin(buffer: Buffer, at: number, end: number, skipped: { lines: number }): number {
    let p = at
    for (;;) {
      while (isSpace(buffer[p])) p++
      if (p >= end || buffer[p] !== LINE_FEED) return Math.min(p, end)
      p++
      skipped.lines++
    }
  }

  after(buffer: Buffer, at: number, end: number): number {
    const feed = buffer.indexOf(LINE_FEED, at)
    return feed < 0 || feed >= end ? end : feed + 1
  }

  formAt(text: JsonText, at: number): RowForm | undefined {
    return this.#discriminator === undefined ? this.#only : this.#forms.get(this.#variantAt(text, at))
  }

  /** The discriminator's value; it mostly stands first. The last one counts, as it does for JSON.parse. */
  #variantAt(text: JsonText, at: number): string | undefined {
    const { buffer } = text
    let found: string | undefined
    if (buffer[at] !== 123) return undefined
    let p = text.space(at + 1)
    while (buffer[p] === 34) {
      const name = text.value(p)
      if (name === undefined) return undefined
      p = text.space(text.end)
      if (buffer[p] !== 58) return undefined
      p = text.space(p + 1)
      if (name === this.#discriminator) {
        const value = text.value(p)
        if (typeof value !== 'string') return undefined
        found = value
        p = text.end
      } else {
        const end = text.skip(p)
        if (end === undefined) return undefined
        p = end
      }
      p = text.space(p)
      if (buffer[p] !== 44) break
      p = text.space(p + 1)
    }
    return found
  }

  row(buffer: Buffer, at: number, end: number): AnyRow {
    const bytes = buffer.subarray(at, end)
    if (!isUtf8(bytes))
      throw fail('RECORD_REFUSED', `a line of ${this.#name} is not UTF-8`, { detail: 'expected text in UTF-8' })
    let json: unknown
    try {
      json = JSON.parse(bytes.toString('utf8'))
    } catch (error) {
      throw fail('RECORD_REFUSED', `a line of ${this.#name} is not JSON`, {
        detail: `expected one JSON object: ${textOf(error)}`,
        cause: error,
      })
    }
    return this.#kept.row(fromWire(this.#input, json))
  }
}

class BinaryFormat implements RecordFormat {
  readonly strideBytes: number
  readonly #kept: Kept
  readonly #form: RowForm
  readonly #input: (view: DataView, at: number) => Record<string, unknown>

  constructor(contract: Contract, layout: BinaryLayout) {
    const { name, variants, discriminator } = contract
    const [variant] = variants
    if (discriminator !== undefined || !variant)
      throw fail('DEFINITION_INVALID', `records of ${name} have variants: their length is not one`, {
        hint: 'give them as lines of JSON',
      })
    const parts = lenderOf(variant, name)
    const reader = createBinaryRowReader(name, variant.schema, parts.lender.code.fields, layout)
    this.strideBytes = reader.strideBytes
    this.#kept = new Kept(contract)
    this.#form = { ...parts, read: reader.read, readRun: reader.readRun }
    this.#input = reader.input
  }

  begin(_: Buffer, at: number): number {
    return at
  }

  after(_: Buffer, at: number): number {
    return at + this.strideBytes
  }

  formAt(): RowForm {
    return this.#form
  }

  row(buffer: Buffer, at: number): AnyRow {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
    return this.#kept.row(this.#input(view, at))
  }
}

/** A refusal with its place. */
export function refusalAt(
  refusal: unknown,
  place: { file: string; byte: number; line: number | undefined },
): MainstemError {
  // What a contract's own functions throw is no less a reason.
  const error = asMainstemError(refusal, 'RECORD_REFUSED', 'a contract cannot judge a record')
  const { file, byte, line } = place
  const where = `${file}${line === undefined ? '' : ` line ${line}`}, byte ${byte}`
  return fail(error.code, error.message, {
    detail: `${where}: ${error.detail ?? error.message}`,
    hint: error.hint ?? 'mend the record, or leave such records out (--skip-invalid)',
    data: { ...error.data, file, byte, ...(line === undefined ? {} : { line }) },
    cause: error,
  })
}
