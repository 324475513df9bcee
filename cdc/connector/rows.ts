// Row images → rows as their contract stores them: a writer generated per table, for images that come from the stream and from
// snapshots. No object is made of a row but where it is refused.
import {
  type AnyRow,
  ByteWriter,
  createValueEncoder,
  defOf,
  isCutRaw,
  isMainstemError,
  issuesText,
  type ObjectContract,
  type RefusedRow,
  refusedBy,
} from '../../core/index.ts'
import { type Image, isSame, NULL, UNCHANGED, VALUE } from './image.ts'
import { REFUSED } from './text-values.ts'

export type Reader = (bytes: Buffer, start: number, end: number) => unknown
/** Writes what `Reader` reads, as the log stores it; false where the reader refuses: part of it may be written then. */
export type Writer = (to: ByteWriter, bytes: Buffer, start: number, end: number) => boolean

/** From the bytes of one column's values to the contract's values. */
export interface ColumnReader {
  readonly name: string
  /** NULL is accepted as it is. */
  readonly nullable: boolean
  /** REFUSED wherever it is not sure: `input` and the schema then decide, and word the refusal. */
  readonly read: Reader
  /** The same without a value in between, where there is such a way. Of a value that is not null. */
  readonly write?: Writer | undefined
  /** The value as the database writes it in text. */
  readonly raw: (bytes: Buffer, start: number, end: number) => string
  /** That text as the value that the schema takes. @throws Unrepresentable */
  readonly input: (text: string) => unknown
  /** The text that an accepted value came from, where the value still shows it; undefined where it does not. */
  readonly text: (value: unknown) => string | null | undefined
}

type RowFunction = (to: ByteWriter, image: Image, before: AnyRow | undefined) => boolean

/** What fills a column that came as "unchanged" (TOAST): the accepted row before, or the raw text of the parked one. */
export interface Fill {
  readonly row: AnyRow | undefined
  readonly raw: Readonly<Record<string, string | null>> | undefined
  /** The old image, where it came whole. */
  readonly old: Image | undefined
  /** The image with the key's columns that the new one may lack. */
  readonly key: Image | undefined
}

/**
 * Raw value of a parked row's column that the server left out: what the accepted row holds is still right. A value large
 * enough to be left out never reads like this.
 */
const UNCHANGED_RAW = '(unchanged)'

export class RowReader {
  readonly #contract: ObjectContract
  readonly #columns: readonly ColumnReader[]
  /** Where each contract column stands in the image. */
  readonly #places: readonly number[]
  readonly #fast: RowFunction | undefined
  readonly #keyPlaces: readonly number[]
  readonly #keyWriter = new ByteWriter(64)
  /** Its first so many bytes, made once. */
  #keys: { readonly of: Buffer; readonly byLength: Buffer[] } = { of: this.#keyWriter.buffer, byLength: [] }

  /**
   * @param columns one for each of the contract's, in their order
   * @param places where each stands in the image; -1 where it is not in it
   */
  constructor(contract: ObjectContract, columns: readonly ColumnReader[], places: readonly number[]) {
    this.#contract = contract
    this.#columns = columns
    this.#places = places
    this.#keyPlaces = contract.key.columns.map(column => columns.findIndex(({ name }) => name === column.name))
    // An object with refinements of its own has to be seen whole by zod.
    const plain = (defOf(contract.schema).checks?.length ?? 0) === 0
    this.#fast = plain ? generate(contract, this.#columns, this.#places) : undefined
  }

  /**
   * Appends the stored form of the row of a complete image, and gives the bytes of its key, valid until the next call; undefined where
   * `refused` has more to say: nothing is appended then.
   */
  write(to: ByteWriter, image: Image, fill?: Fill): Buffer | undefined {
    const start = to.at
    try {
      const key = this.#fast?.(to, image, fill?.raw || fill?.old ? undefined : fill?.row) && this.#keyOf(image)
      if (key) return key
    } catch {
      // The slow way finds the same and words it.
    }
    to.at = start
    const row = this.#readSlowly(image, fill)
    if (typeof row === 'string' || this.#encode(to, row) !== undefined) return undefined
    return this.#contract.key.encodeFromRow(row)
  }

  /** Appends a row and gives undefined, or what is wrong with it. */
  #encode(to: ByteWriter, row: AnyRow): string | undefined {
    const start = to.at
    try {
      this.#contract.codec.encode(to, row)
      this.#contract.key.encodeFromRow(row)
      return undefined
    } catch (error) {
      if (!isMainstemError(error)) throw error
      to.at = start
      return refusedBy(error)
    }
  }

  /** The key's bytes in memory that the next call uses too; undefined where it is not sure. @throws KEY_INVALID */
  #keyOf(image: Image): Buffer | undefined {
    const writer = this.#keyWriter
    writer.at = 0
    for (let n = 0; n < this.#keyPlaces.length; n++) {
      const column = this.#columns[this.#keyPlaces[n]!]!
      const place = this.#places[this.#keyPlaces[n]!]!
      if (image.kinds[place] !== VALUE) return undefined
      const value = column.read(image.bytes, image.starts[place]!, image.ends[place]!)
      if (value === REFUSED) return undefined
      this.#contract.key.encodeColumn(writer, n, value)
    }
    this.#contract.key.checkLength(writer.at)
    if (this.#keys.of !== writer.buffer) this.#keys = { of: writer.buffer, byLength: [] }
    const { byLength } = this.#keys
    byLength[writer.at] ??= writer.buffer.subarray(0, writer.at)
    return byLength[writer.at]
  }

  /** Why a row is refused, with its raw texts and its key as far as that can be read. */
  refused(tuple: Image, fill?: Fill): RefusedRow {
    const slow = this.#readSlowly(tuple, fill)
    const raw: Record<string, string | null> = {}
    for (const [n, column] of this.#columns.entries()) {
      const text = this.#text(tuple, n, fill)
      raw[column.name] = text === undefined ? leftOut(column, fill) : text
    }
    const error = typeof slow === 'string' ? slow : (this.#encode(new ByteWriter(), slow) ?? 'the log cannot take it')
    const key = this.key(tuple, fill?.key)
    return { key: key.bytes, keyText: key.text, raw, error }
  }

  /** The key of an image of which only the key's columns are looked at; `fallback` is an image to take missing ones from. */
  key(tuple: Image, fallback?: Image): { readonly bytes: Buffer | undefined; readonly text: string } {
    const partial: AnyRow = {}
    const texts: string[] = []
    let whole = true
    for (const index of this.#keyPlaces) {
      const column = this.#columns[index]!
      const place = this.#places[index]!
      const from = fallback && tuple.kinds[place] === UNCHANGED ? fallback : tuple
      const kind = from.kinds[place]
      const value = kind === NULL || kind === UNCHANGED ? REFUSED : readSafely(column, from, place)
      if (value === REFUSED) whole = false
      else partial[column.name] = value
      texts.push(
        kind === NULL || kind === UNCHANGED ? '' : column.raw(from.bytes, from.starts[place]!, from.ends[place]!),
      )
    }
    const { key } = this.#contract
    if (whole) {
      try {
        return { bytes: key.encodeFromRow(partial), text: key.format(key.fromRow(partial)) }
      } catch {
        // Too long, not finite …: the raw text names it.
      }
    }
    return { bytes: undefined, text: texts.map(encodeURIComponent).join(',') }
  }

  /** True where an update certainly left the row where it was: a new image without its key's columns, or with the same bytes. */
  hasSameKey(before: Image, after: Image): boolean {
    for (const index of this.#keyPlaces) {
      const place = this.#places[index]!
      if (after.kinds[place] !== UNCHANGED && !isSame(before, after, place)) return false
    }
    return true
  }

  /** True where the image has a column that the server left out as unchanged. */
  hasUnchanged(tuple: Image): boolean {
    for (const place of this.#places) if (tuple.kinds[place] === UNCHANGED) return true
    return false
  }

  /** The row, or what is wrong with it. */
  #readSlowly(tuple: Image, fill: Fill | undefined): AnyRow | string {
    const input: AnyRow = {}
    const problems: string[] = []
    const filled: AnyRow = {}
    for (const [n, column] of this.#columns.entries()) {
      const text = this.#text(tuple, n, fill)
      if (text === undefined) {
        const raw = fill?.raw?.[column.name]
        if (typeof raw === 'string' && isCutRaw(raw)) {
          problems.push(
            `${column.name}: the server sent no value (unchanged TOAST), and the parked one is not kept whole`,
          )
        } else if (fill?.row && column.name in fill.row) filled[column.name] = fill.row[column.name]
        else problems.push(`${column.name}: the server sent no value (unchanged TOAST), and none is known`)
        continue
      }
      try {
        input[column.name] = text === null ? null : column.input(text)
      } catch (error) {
        problems.push(`${column.name}: ${refusedBy(error)}`)
      }
    }
    if (problems.length > 0) return problems.join('; ')
    return Object.keys(filled).length > 0 ? this.#parseAround(input, filled) : this.#parse(input)
  }

  /**
   * The row that a parked row's raw values are by now, or what is wrong with it.
   * @param current the accepted row of its key: for columns that the server had left out as unchanged
   */
  fromRaw(raw: Readonly<Record<string, string | null>>, current: AnyRow | undefined): AnyRow | string {
    const input: AnyRow = {}
    const filled: AnyRow = {}
    const problems: string[] = []
    for (const { name, input: read } of this.#columns) {
      const text = raw[name]
      // A column that the contract did not have then: its default, or the schema's complaint.
      if (text === undefined) continue
      if (text === UNCHANGED_RAW && current && name in current) filled[name] = current[name]
      else if (text !== null && knownText(text) === undefined) problems.push(`${name}: its value was not kept whole`)
      else {
        try {
          input[name] = text === null ? null : read(text)
        } catch (error) {
          problems.push(`${name}: ${refusedBy(error)}`)
        }
      }
    }
    if (problems.length > 0) return problems.join('; ')
    return Object.keys(filled).length > 0 ? this.#parseAround(input, filled) : this.#parse(input)
  }

  #parse(input: AnyRow): AnyRow | string {
    try {
      return this.#contract.parse(input)
    } catch (error) {
      return refusedBy(error)
    }
  }

  /** Columns that are filled in are the schema's output already; the others go through their own schemas. */
  #parseAround(input: AnyRow, filled: AnyRow): AnyRow | string {
    const row: AnyRow = {}
    const problems: string[] = []
    for (const column of this.#columns) {
      if (column.name in filled) {
        row[column.name] = filled[column.name]
        continue
      }
      const result = this.#contract.schema.shape[column.name]!.safeParse(input[column.name])
      if (result.success) row[column.name] = result.data
      else problems.push(`${column.name}: ${issuesText(result.error)}`)
    }
    return problems.length > 0 ? problems.join('; ') : row
  }

  /** A column's text: null for NULL, undefined where it is unchanged and not known as text. */
  #text(tuple: Image, n: number, fill: Fill | undefined): string | null | undefined {
    const place = this.#places[n]!
    let from = tuple
    if (from.kinds[place] === UNCHANGED) {
      const old = fill?.old
      if (!old || old.kinds[place] === UNCHANGED) return knownText(fill?.raw?.[this.#columns[n]!.name])
      from = old
    }
    if (from.kinds[place] === NULL) return null
    return this.#columns[n]!.raw(from.bytes, from.starts[place]!, from.ends[place]!)
  }
}

/** What to keep of a column that came as unchanged: the row may have moved away from where its value is stored. */
function leftOut(column: ColumnReader, fill: Fill | undefined): string | null {
  const raw = fill?.raw?.[column.name]
  if (raw !== undefined && raw !== UNCHANGED_RAW) return raw
  const text = fill?.row && column.name in fill.row ? column.text(fill.row[column.name]) : undefined
  return text === undefined ? UNCHANGED_RAW : text
}

/** A parked row's raw value, if it is the value. */
const knownText = (raw: string | null | undefined): string | null | undefined =>
  typeof raw === 'string' && (raw === UNCHANGED_RAW || isCutRaw(raw)) ? undefined : raw

function readSafely(column: ColumnReader, tuple: Image, place: number): unknown {
  try {
    return column.read(tuple.bytes, tuple.starts[place]!, tuple.ends[place]!)
  } catch {
    return REFUSED
  }
}

/** Straight-line code, in which each column's writer has a call of its own. Names go in through JSON.stringify only. */
function generate(contract: ObjectContract, columns: readonly ColumnReader[], places: readonly number[]): RowFunction {
  const types = new Map(contract.type.fields.map(({ name, type }) => [name, type]))
  const writers: Writer[] = []
  const values: ((to: ByteWriter, value: unknown) => void)[] = []
  const statements = columns.map((column, n) => {
    const { name, nullable, read, write } = column
    const type = types.get(name)!
    const put = createValueEncoder(type, name)
    values.push(put)
    writers.push(write ?? throughValue(read, put))
    const tag = write && type.kind === 'nullable' ? 'to.u8(1); ' : ''
    const place = places[n]
    return `if (k[${place}] === ${VALUE}) { ${tag}if (!w${n}(to, b, s[${place}], e[${place}])) return false }
else if (k[${place}] === ${NULL}) { ${nullable ? `v${n}(to, null)` : 'return false'} }
else { if (!before || before[${JSON.stringify(name)}] === undefined) return false; v${n}(to, before[${JSON.stringify(name)}]) }`
  })
  const names = columns.map((_, n) => n)
  const body = `return (to, image, before) => { const k = image.kinds, s = image.starts, e = image.ends, b = image.bytes;\n${statements.join('\n')}\nreturn true }`
  const make = new Function(...names.map(n => `w${n}`), ...names.map(n => `v${n}`), body) as (
    ...functions: readonly unknown[]
  ) => RowFunction
  return make(...writers, ...values)
}

function throughValue(read: Reader, put: (to: ByteWriter, value: unknown) => void): Writer {
  return (to, bytes, start, end) => {
    const value = read(bytes, start, end)
    if (value === REFUSED || value === undefined) return false
    put(to, value)
    return true
  }
}
