// A row's stored form, written from and read into its page: the same bytes as the row codec makes of the row as an object,
// without the object. Generated per layout, so that each view's own loop stays monomorphic.
import {
  type AnyRow,
  type ByteReader,
  type ByteWriter,
  createRowCodec,
  type RowCodec,
  type ValueType,
} from '../../core/index.ts'
import { heldBytes } from './draft.ts'
import { type Absence, type Layout, type NamedSlot, placeIn, type Slot } from './layout.ts'
import { settle } from './nested.ts'

export interface StoredCode {
  encode(
    writer: ByteWriter,
    words: Float64Array,
    halves: Int32Array,
    base: number,
    refs: readonly unknown[],
    refBase: number,
  ): void
  /** Sets all fields of a row, and gives by how many bytes it holds more in the heap than before. @throws RangeError */
  decode(
    reader: ByteReader,
    words: Float64Array,
    halves: Int32Array,
    base: number,
    refs: unknown[],
    refBase: number,
  ): number
}

const known = new WeakMap<object, StoredCode>()

/** Made once per definition, however often it is opened. */
export function storedCode(definition: object, layout: Layout): StoredCode {
  const made = known.get(definition) ?? generate(layout)
  known.set(definition, made)
  return made
}

function generate({ fields, hidden }: Layout): StoredCode {
  const text = new Text()
  const all = [...fields, ...hidden]
  const encode = text.encode(all)
  const decode = text.decode(all)
  const program = `'use strict'
const { parts, heldBytes } = env
return {
encode(o, w, h, b, r, rb) { ${encode} },
decode(i, w, h, b, r, rb) { let held = 0; ${decode} return held } }`
  return new Function('env', program)({ parts: text.parts, heldBytes }) as StoredCode
}

/** Stores one field that is a reference. */
interface Part {
  encode(writer: ByteWriter, value: unknown): void
  decode(reader: ByteReader): unknown
}

class Text {
  readonly parts: Part[] = []
  #names = 0

  encode(fields: readonly NamedSlot[]): string {
    return fields.map(field => this.#encodeSlot(field)).join('\n')
  }

  decode(fields: readonly NamedSlot[]): string {
    return fields.map(field => this.#decodeSlot(field)).join('\n')
  }

  #encodeSlot({ name, slot }: NamedSlot): string {
    switch (slot.kind) {
      case 'word': {
        const local = this.#fresh()
        return `const ${local} = ${placeIn(slot)}; ${writeAbsent(slot, local, writeWord(slot.type, local))}`
      }
      case 'bigint': {
        const local = this.#fresh()
        const write = `if (${local} === -Infinity) o.bigint(r[rb + ${slot.ref}]); else { o.u8(0); o.int(${local}); }`
        return `const ${local} = w[b + ${slot.word}]; ${writeAbsent(slot, local, write)}`
      }
      case 'value':
      case 'map':
        return `${this.#part(name, slot)}.encode(o, r[rb + ${slot.ref}]);`
      case 'group': {
        const inner = this.encode(slot.fields)
        if (slot.presence < 0) return `{ ${inner} }`
        return writeAbsent(slot, `w[b + ${slot.presence}]`, inner)
      }
    }
  }

  #decodeSlot({ name, slot }: NamedSlot): string {
    switch (slot.kind) {
      case 'word':
        return readAbsent(slot, `${placeIn(slot)} = `, `${placeIn(slot)} = ${readWord(slot.type)};`)
      case 'bigint': {
        const word = `w[b + ${slot.word}]`
        const clear = `held -= heldBytes(r[rb + ${slot.ref}]); r[rb + ${slot.ref}] = undefined;`
        const read = `const v = i.bigint(), n = Number(v); if (Number.isSafeInteger(n)) ${word} = n; else { ${word} = -Infinity; r[rb + ${slot.ref}] = v; held += heldBytes(v); }`
        return `${clear} ${readAbsent(slot, `${word} = `, `{ ${read} }`)}`
      }
      case 'value':
      case 'map': {
        const ref = `r[rb + ${slot.ref}]`
        return `{ const v = ${this.#part(name, slot)}.decode(i); held += heldBytes(v) - heldBytes(${ref}); ${ref} = v; }`
      }
      case 'group': {
        const inner = this.decode(slot.fields)
        if (slot.presence < 0) return `{ ${inner} }`
        const word = `w[b + ${slot.presence}]`
        const none = clearWords(slot.fields)
        return readAbsent(slot, `${none} ${word} = `, `${word} = 1; ${inner}`)
      }
    }
  }

  #part(name: string, slot: Extract<Slot, { kind: 'value' | 'map' }>): string {
    return `parts[${this.parts.push(partOf(name, slot)) - 1}]`
  }

  #fresh(): string {
    return `v${this.#names++}`
  }
}

function partOf(name: string, slot: Extract<Slot, { kind: 'value' | 'map' }>): Part {
  const type: ValueType = slot.nullable ? { kind: 'nullable', inner: slot.type, optional: slot.optional } : slot.type
  if (type.kind === 'string') {
    return { encode: (writer, value) => writer.string(value as string, name), decode: reader => reader.string() }
  }
  const codec: RowCodec = createRowCodec({ kind: 'object', fields: [{ name, type }] })
  const box: AnyRow = {}
  const asCodec = (value: unknown): AnyRow => {
    box[name] = value
    return box
  }
  if (slot.kind === 'value') {
    return {
      encode: (writer, value) => codec.encode(writer, asCodec(value)),
      decode: reader => settle(type, codec.decode(reader)[name], name),
    }
  }
  // An empty map of a row that nobody has read is undefined, unless that is a value of its own.
  return {
    encode: (writer, value) =>
      codec.encode(writer, asCodec(value === undefined && !slot.optional ? EMPTY_MAP : (value as unknown))),
    decode: reader => {
      const value = settle(type, codec.decode(reader)[name], name)
      return value instanceof Map && value.size === 0 && !slot.nullable ? undefined : value
    },
  }
}

const EMPTY_MAP: ReadonlyMap<unknown, unknown> = new Map()

function writeWord(type: ValueType, value: string): string {
  switch (type.kind) {
    case 'float':
      return `o.f64(${value});`
    case 'boolean':
      return `o.u8(${value});`
    case 'enum':
      return `o.varint(${value});`
    default:
      return `o.int(${value});`
  }
}

function readWord(type: ValueType): string {
  switch (type.kind) {
    case 'int32':
      return 'i.int32()'
    case 'float':
      return 'i.f64()'
    case 'boolean':
      return 'i.tag(1)'
    case 'date':
      return 'i.time()'
    case 'enum':
      return `i.below(${type.values.length})`
    default:
      return 'i.int()'
  }
}

/** Writes what the word says of absence, and the value where it is there. */
function writeAbsent({ nullable, optional }: Absence, word: string, write: string): string {
  if (!nullable) return write
  const missing = optional ? `else if (${word} === Infinity) o.u8(2);` : ''
  return `if (${word} !== ${word}) o.u8(0); ${missing} else { o.u8(1); ${write} }`
}

function readAbsent({ nullable, optional }: Absence, store: string, read: string): string {
  if (!nullable) return read
  if (!optional) return `if (i.tag(1) === 0) { ${store}NaN; } else { ${read} }`
  return `switch (i.tag(2)) { case 0: ${store}NaN; break; case 1: { ${read} break; } default: ${store}Infinity; }`
}

/** Statements after which fields of a group that is not there hold nothing: equal rows have equal words. */
function clearWords(fields: readonly NamedSlot[]): string {
  const clear = ({ slot }: NamedSlot): string => {
    const ref = slot.kind === 'word' || slot.kind === 'group' ? '' : `r[rb + ${slot.ref}]`
    const clearRef = ref && `held -= heldBytes(${ref}); ${ref} = undefined;`
    if (slot.kind === 'word') return `${placeIn(slot)} = 0;`
    if (slot.kind === 'bigint') return `w[b + ${slot.word}] = 0; ${clearRef}`
    if (slot.kind === 'group')
      return `${slot.presence < 0 ? '' : `w[b + ${slot.presence}] = 0;`} ${clearWords(slot.fields)}`
    return clearRef
  }
  return fields.map(clear).join(' ')
}
