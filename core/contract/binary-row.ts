// Rows of a contract read from records of a fixed length: fields at fixed places, little-endian. Straight-line code, generated once
// per layout.
import type { z } from 'zod'
import { fail } from '../errors.ts'
import { describe, isPlain, type ValueType } from './describe.ts'
import type { JsonText } from './json-text.ts'
import { ParserCode } from './parser-code.ts'
import { PutCode } from './row-put.ts'
import { type RowSource, runAt, type ViewField, type ViewSlot } from './row-view.ts'

const BYTES = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8, i64: 8, f32: 4, f64: 8 } as const

/** How a number stands in a record; `u` unsigned, `i` two's complement, `f` IEEE 754, with its bits. */
export type BinaryType = keyof typeof BYTES

export interface BinaryField {
  /** Of the contract. */
  readonly field: string
  /**
   * A number, a date (milliseconds since 1970), a boolean (0, 1), an enum (the index of its value), or a bigint (u64, i64). What a 64-bit
   * integer holds beyond ±2^53 is refused but for bigints.
   */
  readonly type: BinaryType
  /** Where it begins in the record, in bytes. Default: after the field before it. */
  readonly at?: number
}

/** Records of one length, one after the other, without anything in between. */
export interface BinaryLayout {
  /** Each field of the contract that has no default and may not be absent. */
  readonly fields: readonly BinaryField[]
  /** Bytes of a record. Default: up to where its last field ends. */
  readonly strideBytes?: number
}

export interface BinaryRowReader {
  readonly strideBytes: number
  /** Reads the record at `at` as row `row` of the run; gives the place after it, undefined where it is not of the contract. */
  read(source: RowSource, text: JsonText, at: number, row: number): number | undefined
  /** Reads records that follow each other, as rows `from` to `to` of the run; gives the row of the first that is not of the contract, or `to`. */
  readRun(source: RowSource, text: JsonText, at: number, from: number, to: number): number
  /** The record as the contract's parser takes it. */
  input(view: DataView, at: number): Record<string, unknown>
}

interface Placed {
  readonly type: BinaryType
  readonly at: number
}

/** @param slots of `createRowViewCode` for the schema's output · @throws DEFINITION_INVALID */
export function createBinaryRowReader(
  name: string,
  schema: z.ZodObject,
  slots: readonly ViewField[],
  layout: BinaryLayout,
): BinaryRowReader {
  const placed = placedFields(name, schema, layout)
  const end = Math.max(0, ...[...placed.values()].map(({ at, type }) => at + BYTES[type]))
  const strideBytes = layout.strideBytes ?? end
  if (end === 0 || !Number.isSafeInteger(strideBytes) || strideBytes < end || strideBytes > RECORD_BYTES_MAX)
    throw invalid(name, `a record of ${strideBytes} bytes, whose fields end at ${end}`)
  const code = new BinaryCode(name, schema, placed)
  const [constants, read, input] = [code.parser.constants, code.read(slots, strideBytes), code.input()]
  const names = constants.map((_, n) => `c${n}`)
  const program = `'use strict'
function read(s, t, p, i) { ${read} }
return { read, input(d, p) { ${input} }, readRun(s, t, at, from, to) {
let p = at, i = from
for (; i < to && read(s, t, p, i) !== undefined; i++) p += ${strideBytes}
return i } }`
  const made = new Function('RealDate', ...names, program)(RealDate, ...constants) as Omit<
    BinaryRowReader,
    'strideBytes'
  >
  return { strideBytes, ...made }
}

const RECORD_BYTES_MAX = 64 * 1024
/** Taken before the purity guards of projections wrap the global one. */
const RealDate = Date

const invalid = (name: string, detail: string) =>
  fail('DEFINITION_INVALID', `the binary layout of ${name} does not fit its contract`, { detail })

function placedFields(name: string, { shape }: z.ZodObject, { fields }: BinaryLayout): ReadonlyMap<string, Placed> {
  let next = 0
  const placed = new Map<string, Placed>()
  for (const { field, type, at = next } of fields) {
    if (!Object.hasOwn(shape, field)) throw invalid(name, `the contract has no field '${field}'`)
    if (placed.has(field)) throw invalid(name, `'${field}' stands in it twice`)
    if (!Object.hasOwn(BYTES, type)) throw invalid(name, `'${type}' of '${field}' is not a type`)
    if (!Number.isSafeInteger(at) || at < 0) throw invalid(name, `'${field}' begins at ${at}`)
    next = at + BYTES[type]
    placed.set(field, { type, at })
  }
  return placed
}

/** Variables: `d`: the bytes; `p`: where the record begins; `w`, `x`, `i`, `t` as in `PutCode`. */
class BinaryCode {
  readonly parser = new ParserCode()
  readonly #put = new PutCode(value => this.#constant(value))
  readonly #name: string
  readonly #schema: z.ZodObject
  readonly #placed: ReadonlyMap<string, Placed>

  constructor(name: string, schema: z.ZodObject, placed: ReadonlyMap<string, Placed>) {
    this.#name = name
    this.#schema = schema
    this.#placed = placed
  }

  #constant(value: unknown): string {
    return `c${this.parser.constants.push(value) - 1}`
  }

  read(slots: readonly ViewField[], strideBytes: number): string {
    const fields = slots.map(({ name, slot }) => this.#field(name, slot))
    return `const w = s.words, x = s.refs, d = t.view; ${fields.join('\n')} return p + ${strideBytes}`
  }

  input(): string {
    const fields = [...this.#placed].map(([field, from]) => `${JSON.stringify(field)}: ${this.#value(field, from)}`)
    return `return { ${fields.join(', ')} }`
  }

  #field(name: string, slot: ViewSlot): string {
    const schema = this.#schema.shape[name] as z.ZodType
    const from = this.#placed.get(name)
    if (!from && schema._zod.optin === undefined)
      throw invalid(this.#name, `it lacks '${name}', which has no default and may not be absent`)
    if (from && slot.kind === 'word' && isPlain(schema)) return this.#plain(slot, from)
    const v = `r${slotNumber(slot)}`
    const piece = this.parser.value(schema, v)
    return `{ const ${v} = ${from ? this.#value(name, from) : 'undefined'}; ${piece.code}\n${this.#put.put(slot, piece.value)} }`
  }

  /** What is right by its type alone is not tested. */
  #plain(slot: Extract<ViewSlot, { kind: 'word' }>, from: Placed): string {
    const { type, word } = slot
    const w = `w[${runAt(word)}]`
    const raw = numberAt(from)
    const most = type.kind === 'enum' ? type.values.length - 1 : type.kind === 'boolean' ? 1 : undefined
    if (most !== undefined)
      return `{ const n = ${raw}; if (!(n >= 0 && n <= ${most} && n % 1 === 0)) return undefined; ${w} = n; }`
    if (type.kind === 'date')
      return `{ const n = ${raw}; if (!(Math.abs(n) <= 8.64e15 && n % 1 === 0)) return undefined; ${w} = n + 0; }`
    const fits = type.kind === 'float' ? !from.type.startsWith('f') : FITS[type.kind as 'int' | 'int32'].has(from.type)
    return fits ? `${w} = ${raw};` : this.#put.put(slot, raw)
  }

  /** An expression: a field as the schema takes it; what cannot be one stays a number, and is refused. */
  #value(name: string, from: Placed): string {
    const type = describe(this.#schema.shape[name] as z.ZodType, 'input')
    const raw = numberAt(from)
    const { kind } = type.kind === 'nullable' ? type.inner : type
    switch (kind) {
      case 'int32':
      case 'int':
      case 'float':
        return raw
      case 'date':
        return `new RealDate(${raw})`
      case 'boolean':
        return `${this.#constant((n: number) => (n === 0 || n === 1 ? n === 1 : n))}(${raw})`
      case 'enum': {
        const { values } = (type.kind === 'nullable' ? type.inner : type) as Extract<ValueType, { kind: 'enum' }>
        return `${this.#constant((n: number) => values[n] ?? n)}(${raw})`
      }
      case 'bigint':
        if (from.type === 'u64') return `d.getBigUint64(p + ${from.at}, true)`
        if (from.type === 'i64') return `d.getBigInt64(p + ${from.at}, true)`
        return `${this.#constant((n: number) => (Number.isSafeInteger(n) ? BigInt(n) : n))}(${raw})`
      default:
        throw invalid(this.#name, `'${name}' is ${kind}, which has no fixed length`)
    }
  }
}

/** What always is in range. */
const FITS = {
  int32: new Set<BinaryType>(['u8', 'i8', 'u16', 'i16', 'i32']),
  int: new Set<BinaryType>(['u8', 'i8', 'u16', 'i16', 'u32', 'i32']),
} as const

const slotNumber = (slot: ViewSlot): number =>
  slot.kind === 'group' ? 0 : slot.kind === 'value' ? slot.ref : slot.word

/** An expression: the number that stands there. */
function numberAt({ type, at }: Placed): string {
  const p = `p + ${at}`
  switch (type) {
    case 'u8':
      return `d.getUint8(${p})`
    case 'i8':
      return `d.getInt8(${p})`
    case 'u16':
      return `d.getUint16(${p}, true)`
    case 'i16':
      return `d.getInt16(${p}, true)`
    case 'u32':
      return `d.getUint32(${p}, true)`
    case 'i32':
      return `d.getInt32(${p}, true)`
    case 'f32':
      return `d.getFloat32(${p}, true)`
    case 'f64':
      return `d.getFloat64(${p}, true)`
    // Beyond 2^53 they round, and are refused as any number there.
    case 'u64':
      return `(d.getUint32(${p} + 4, true) * 4294967296 + d.getUint32(${p}, true))`
    case 'i64':
      return `(d.getInt32(${p} + 4, true) * 4294967296 + d.getUint32(${p}, true))`
  }
}
