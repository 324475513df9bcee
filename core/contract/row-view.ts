// A record as handlers see it: one object per layout whose own, enumerable accessors read the record at hand, so that a record
// costs no object. A `RowView` takes rows from their stored bytes (here), or from columns (core/log/sealed): numbers at once,
// texts when they are asked for. It holds a run of them, word by word: what folds a run goes along each word's column, and
// steps the accessors from row to row. When the run's turn is over it is closed, and using it throws.
//
// A number, date, boolean or enum is a word: null is NaN, undefined is +Infinity (stored numbers are finite), −Infinity says
// that a bigint beyond ±2^53 stands in `refs`. A text is two words, where it stands; a nested value is decoded into `refs`.
import { fail } from '../errors.ts'
import type { ByteReader } from './bytes.ts'
import type { Field, ObjectType, ValueType } from './describe.ts'
import { createRowCodec } from './row-codec.ts'
import type { AnyRow } from './values.ts'

/** Columns from which a text can be had. */
export interface TextColumn {
  text(index: number): string
  /** The texts as UTF-8: that of entry `n` from `offsets[n]` to `offsets[n + 1]`. */
  readonly heap: Uint8Array
  readonly offsets: Uint32Array
  /** The entry of each index; undefined where that is the index itself. */
  readonly entries: Uint32Array | undefined
}

/** Where columns come from that nobody has asked for yet. */
export interface LateColumns {
  /** Gives the rows of a run their words and references of one column; columns are counted as `ViewSlot.column`. */
  load(source: RowSource, column: number): void
}

/** Columns that have a bit of `RowSource.pending` each; the others share the last one. */
const OWN_BITS = 30

const ALL = -1

/** The bit that says whether a column is still to be loaded. */
export const pendingBit = (column: number): number => 1 << Math.min(column, OWN_BITS)

/** Rows that a view holds at most: a run of them with what they fold into stays in the first cache. */
export const RUN_ROWS_MAX = 256

/** A run of rows, and the one at which the accessors look. */
export class RowSource {
  /** Whether the rows may be looked at; see `close`. */
  open = false
  /** Which row the accessors show. */
  at = 0
  /** Rows of the run. */
  count = 0
  /** The position of each record; set by who lends runs. */
  readonly positions = new Float64Array(RUN_ROWS_MAX)
  /** Word `n` of row `i` is at `n * RUN_ROWS_MAX + i`; references likewise. */
  readonly words: Float64Array
  readonly refs: unknown[]
  /** Where texts stand: at (offset, length) of a buffer, or, without one, at (column, index). */
  buffer: Buffer | undefined
  columns: readonly TextColumn[] = []
  /**
   * Columns whose words are not there yet, a bit each: they are loaded for the whole run when the first of them is asked for. All of
   * them where the run is closed, so that an accessor has one thing to look at.
   */
  pending = ALL
  /** Columns that there are. */
  readonly columnCount: number
  /** What loads them, and the index there of the run's first row. */
  late: LateColumns | undefined
  from = 0

  constructor({ words, refs, columns }: Size) {
    this.words = new Float64Array(words * RUN_ROWS_MAX)
    this.refs = new Array(refs * RUN_ROWS_MAX).fill(undefined)
    this.columnCount = columns
  }

  /** Makes a column's words and references be there. */
  need(column: number): void {
    const bit = pendingBit(column)
    if ((this.pending & bit) === 0) return
    this.pending &= ~bit
    const end = bit === 1 << OWN_BITS ? this.columnCount : column + 1
    for (let n = Math.min(column, OWN_BITS); n < end; n++) this.late!.load(this, n)
  }

  /** Makes the run one of rows whose words are all there. */
  openWith(buffer: Buffer): void {
    this.buffer = buffer
    this.pending = 0
    this.open = true
  }

  /** Ends the use of the rows: their accessors throw. */
  close(): void {
    this.pending = ALL
    this.open = false
  }

  /** Makes the run one of rows whose columns are loaded when they are asked for. */
  lendLate(late: LateColumns, columns: readonly TextColumn[], from: number): void {
    this.late = late
    this.columns = columns
    this.from = from
    this.buffer = undefined
    this.pending = this.columnCount > OWN_BITS ? 2 ** (OWN_BITS + 1) - 1 : 2 ** this.columnCount - 1
    this.open = true
  }
}

/** Values of a slot are one column, those that say whether a nullable is there another one before it; all are counted in order. */
interface OfColumn {
  readonly column: number
}

export type ViewSlot =
  | (OfColumn & { readonly kind: 'word'; readonly type: ValueType; readonly word: number })
  | (OfColumn & { readonly kind: 'bigint'; readonly word: number; readonly ref: number })
  | (OfColumn & { readonly kind: 'text'; readonly word: number; readonly ref: number })
  | (OfColumn & { readonly kind: 'value'; readonly type: ValueType; readonly ref: number })
  | { readonly kind: 'group'; readonly fields: readonly ViewField[] }
  /** `word` says whether the inner one is there: 1, NaN for null, +Infinity for undefined. */
  | (OfColumn & {
      readonly kind: 'nullable'
      readonly inner: ViewSlot
      readonly word: number
      readonly optional: boolean
    })

export interface ViewField {
  readonly name: string
  readonly slot: ViewSlot
}

/** A record's accessors, and what they look at. */
export interface RowView {
  readonly row: AnyRow
  readonly source: RowSource
  readonly fields: readonly ViewField[]
}

/** What is generated for one type of rows. */
export interface RowViewCode {
  readonly fields: readonly ViewField[]
  view(): RowView
  /** Takes the row at which the reader stands, as `RowCodec.decode` would, as row `at` of the run. */
  read(source: RowSource, reader: ByteReader, at: number): void
}

/** @param name of the topic, for errors */
export function createRowViewCode(type: ObjectType, name: string): RowViewCode {
  const size = { words: 0, refs: 0, columns: 0 }
  const fields = slotsOf(type.fields, size)
  const text = new ViewText()
  const read = text.read(fields)
  const row = text.group(fields, '')
  const expired = (field: string): never => {
    throw fail('CURSOR_EXPIRED', `a record of '${name}' was used after its handler returned`, {
      detail: `its field '${field}'`,
    })
  }
  /** What an accessor asks for whose column is not there, or whose run is closed. */
  const miss = (source: RowSource, n: number): void => {
    const { path, columns } = text.asked[n]!
    if (!source.open) expired(path)
    for (const column of columns) source.need(column)
  }
  const program = `'use strict'
${text.groups.join('\n')}
return { row: s => new ${row}(s), read(s, r, i) { const w = s.words, x = s.refs; ${read} s.openWith(r.buffer) } }`
  const enums = text.enums.map((_, n) => `e${n}`)
  const made = new Function('expired', 'miss', 'decoders', 'Date', ...enums, program)(
    expired,
    miss,
    text.decoders,
    RealDate,
    ...text.enums,
  ) as { row(source: RowSource): AnyRow; read: RowViewCode['read'] }
  return {
    fields,
    read: made.read,
    view() {
      const source = new RowSource(size)
      return { row: made.row(source), source, fields }
    },
  }
}

/** Taken before the purity guards of projections wrap the global one. */
const RealDate = Date

interface Size {
  words: number
  refs: number
  columns: number
}

const slotsOf = (fields: readonly Field[], size: Size): ViewField[] =>
  fields.map(({ name, type }) => ({ name, slot: slotOf(type, size) }))

function slotOf(type: ValueType, size: Size): ViewSlot {
  switch (type.kind) {
    case 'nullable':
      return {
        kind: 'nullable',
        column: size.columns++,
        word: size.words++,
        inner: slotOf(type.inner, size),
        optional: type.optional,
      }
    case 'int32':
    case 'int':
    case 'float':
    case 'boolean':
    case 'date':
    case 'enum':
      return { kind: 'word', column: size.columns++, type, word: size.words++ }
    case 'bigint':
      return { kind: 'bigint', column: size.columns++, word: size.words++, ref: size.refs++ }
    case 'string': {
      const word = size.words
      size.words += 2
      return { kind: 'text', column: size.columns++, word, ref: size.refs++ }
    }
    case 'object':
      return { kind: 'group', fields: slotsOf(type.fields, size) }
    case 'record': {
      const fields = type.keys?.map(name => ({ name, type: type.value }))
      return fields ? { kind: 'group', fields: slotsOf(fields, size) } : heldSlot(type, size)
    }
    default:
      return heldSlot(type, size)
  }
}

/** The columns of a slot's own value; those of a group are its fields'. */
function columnsOf(slot: ViewSlot): number[] {
  if (slot.kind === 'group') return []
  return slot.kind === 'nullable' ? [slot.column, ...columnsOf(slot.inner)] : [slot.column]
}

const heldSlot = (type: ValueType, size: Size): ViewSlot => ({
  kind: 'value',
  column: size.columns++,
  type,
  ref: size.refs++,
})

const quote = (text: string): string => JSON.stringify(text)

/** Where word or reference `n` of row `i` stands, as text. */
export const runAt = (n: number): string => `${n * RUN_ROWS_MAX} + i`
const wordOf = (n: number): string => `s.words[${n * RUN_ROWS_MAX} + s.at]`
const refOf = (n: number): string => `s.refs[${n * RUN_ROWS_MAX} + s.at]`

/** Writes the program: a class per group of fields, and the function that reads a row. `s`, `w`, `x`, `r`: source, words, refs, reader. */
class ViewText {
  readonly groups: string[] = []
  readonly enums: (readonly string[])[] = []
  readonly decoders: ((reader: ByteReader) => unknown)[] = []
  /** Of each accessor of values: its field, and the columns that it reads. */
  readonly asked: { readonly path: string; readonly columns: readonly number[] }[] = []

  group(fields: readonly ViewField[], path: string): string {
    const inner: string[] = []
    const accessors = fields.map(({ name, slot }) => {
      const at = `${path}${name}`
      return `[${quote(name)}]: { enumerable: true, get() { const s = this.#s; ${this.#check(slot, at)} return ${this.#value(slot, at, inner)} } }`
    })
    const name = `Group${this.groups.length}`
    this.groups.push(`class ${name} {
#s; ${inner.map((_, n) => `#g${n};`).join(' ')}
constructor(s) { this.#s = s; ${inner.map((group, n) => `this.#g${n} = new ${group}(s);`).join(' ')} Object.defineProperties(this, ${name}.accessors) }
static accessors = { ${accessors.join(',\n')} }
}`)
    return name
  }

  /**
   * A statement that makes the columns of a slot be there, a value's too that is not there, or throws. It is short: the engine puts
   * accessors into the code of a handler up to a bound of their size, and calls the others.
   */
  #check(slot: ViewSlot, path: string): string {
    const columns = columnsOf(slot)
    if (columns.length === 0) return `if (!s.open) expired(${quote(path)});`
    const bits = columns.reduce((all, column) => all | pendingBit(column), 0)
    return `if (s.pending & ${bits}) miss(s, ${this.asked.push({ path, columns }) - 1});`
  }

  /** An expression for a slot's value. */
  #value(slot: ViewSlot, path: string, groups: string[]): string {
    switch (slot.kind) {
      case 'word':
        return this.#ofWord(slot.type, `${wordOf(slot.word)}`)
      case 'bigint':
        return `(${wordOf(slot.word)} === -Infinity ? ${refOf(slot.ref)} : BigInt(${wordOf(slot.word)}))`
      case 'text': {
        const [from, length] = [`${wordOf(slot.word)}`, `${wordOf(slot.word + 1)}`]
        const read = `(s.buffer !== undefined ? s.buffer.utf8Slice(${from}, ${from} + ${length}) : s.columns[${from}].text(${length}))`
        return `(${refOf(slot.ref)} ?? (${refOf(slot.ref)} = ${read}))`
      }
      case 'value':
        return `${refOf(slot.ref)}`
      case 'group':
        return `this.#g${groups.push(this.group(slot.fields, `${path}.`)) - 1}`
      case 'nullable': {
        const w = `${wordOf(slot.word)}`
        const value = this.#value(slot.inner, path, groups)
        return `(${w} === 1 ? ${value} : ${slot.optional ? `${w} === Infinity ? undefined : ` : ''}null)`
      }
    }
  }

  #ofWord(type: ValueType, w: string): string {
    switch (type.kind) {
      case 'boolean':
        return `(${w} === 1)`
      case 'date':
        return `new Date(${w})`
      case 'enum':
        return `e${this.enums.push(type.values) - 1}[${w}]`
      default:
        return w
    }
  }

  /** Statements that read fields in their order. */
  read(fields: readonly ViewField[]): string {
    return fields.map(({ slot }) => this.#readSlot(slot)).join(' ')
  }

  #readSlot(slot: ViewSlot): string {
    switch (slot.kind) {
      case 'word':
        return `w[${runAt(slot.word)}] = ${readWord(slot.type)};`
      case 'bigint':
        return `if (r.tag(1) === 0) w[${runAt(slot.word)}] = r.int(); else { w[${runAt(slot.word)}] = -Infinity; x[${runAt(slot.ref)}] = BigInt(r.string()); }`
      case 'text':
        return `{ const n = r.length(); w[${runAt(slot.word)}] = r.at - n; w[${runAt(slot.word + 1)}] = n; x[${runAt(slot.ref)}] = undefined; }`
      case 'value': {
        const codec = createRowCodec({ kind: 'object', fields: [{ name: 'v', type: slot.type }] })
        this.decoders.push(reader => codec.decode(reader)['v'])
        return `x[${runAt(slot.ref)}] = decoders[${this.decoders.length - 1}](r);`
      }
      case 'group':
        return this.read(slot.fields)
      case 'nullable': {
        const w = `w[${runAt(slot.word)}]`
        const inner = this.#readSlot(slot.inner)
        if (!slot.optional) return `if (r.tag(1) === 0) ${w} = NaN; else { ${w} = 1; ${inner} }`
        return `switch (r.tag(2)) { case 0: ${w} = NaN; break; case 2: ${w} = Infinity; break; default: ${w} = 1; ${inner} }`
      }
    }
  }
}

function readWord(type: ValueType): string {
  switch (type.kind) {
    case 'int32':
      return 'r.int32()'
    case 'float':
      return 'r.f64()'
    case 'boolean':
      return 'r.tag(1)'
    case 'date':
      return 'r.time()'
    case 'enum':
      return `r.below(${type.values.length})`
    default:
      return 'r.int()'
  }
}
