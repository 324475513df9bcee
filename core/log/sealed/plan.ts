// Which columns a layout's rows become, and the code between rows and columns, generated per layout: `shred` walks a row's
// stored bytes once and pushes each value to its column's builder; `assemble` makes the row object of index i from columns.
// Objects are flattened into columns named `a.b`; each nullable adds a column of tags (the row codec's: 0 null, 1 value,
// 2 absent) before its own; arrays, records, maps stay as row-codec bytes. Every column has an entry for every row.

import type { Field, ObjectType, ValueType } from '../../contract/index.ts'
import { type AnyRow, type ByteReader, createRowCodec, ByteReader as Reader } from '../../contract/index.ts'
import type { ColumnBuilder } from './builders.ts'
import type { ColumnData } from './columns.ts'

/** tags: of a nullable · small: booleans · int, float, bigint · text: strings and JSON · raw: bytes, and nested values as row-codec bytes. */
export type ColumnKind = 'tags' | 'small' | 'int' | 'float' | 'bigint' | 'text' | 'raw'

export interface PlannedColumn {
  /** The field's path; a tags column has the path of the field that it is of. */
  readonly name: string
  readonly kind: ColumnKind
  /** The leaf's type; of tags, the nullable's. */
  readonly type: ValueType
  /** The tags columns of the nullables around it, outermost first. */
  readonly tags: readonly number[]
}

/** Where a key field's bytes stand, for the key hash and the key index. */
export interface ColumnPlan {
  readonly columns: readonly PlannedColumn[]
  /**
   * Makes the function that reads one row at the reader's place. It gives the row's key bytes to `key`: the key's columns in order,
   * each as the row codec stores it, but an enum by its text (its number may change with the contract).
   */
  readonly shredder: (builders: readonly ColumnBuilder[], key: KeyBytes) => (reader: ByteReader) => void
  /** The same for the key alone: passes over the row no further than its last key column. */
  readonly keyer: (key: KeyBytes) => (reader: ByteReader) => void
  /** Makes the function that gives the row of an index. */
  readonly assembler: (columns: readonly ColumnData[]) => (index: number) => AnyRow
}

/** Takes the bytes of a row's key, piece by piece. */
export interface KeyBytes {
  begin(): void
  add(from: Buffer, start: number, end: number): void
}

export function planColumns(type: ObjectType, key: readonly string[]): ColumnPlan {
  const columns: PlannedColumn[] = []
  const code = new PlanCode(columns)
  const shred = code.shredFields(type.fields, '', [], key)
  const keyed = key.map((name, n) => code.keyPiece(type.fields, name, n)).join(' ')
  const enumTexts = code.enumTexts
  const shredText = `${columns.map((_, n) => `const c${n} = c[${n}];`).join(' ')} return r => { ${shred} k.begin(); ${keyed} }`
  const skip = code.skipToKey(type.fields, key)
  const keyer = new Function('k', 'texts', `return r => { ${skip} k.begin(); ${keyed} }`)
  code.next = 0
  const row = code.rowOfFields(type.fields)
  const rowText = `${columns.map((column, n) => bindColumn(column, n)).join(' ')} return i => (${row})`
  const raws = columns.map(column => rawDecoder(column))
  const shredder = new Function('c', 'k', 'texts', shredText)
  const assembler = new Function('c', 'raws', 'enums', 'parse', 'Date', rowText)
  return {
    columns,
    keyer: keyBytes => keyer(keyBytes, enumTexts),
    shredder: (builders, keyBytes) => shredder(builders, keyBytes, enumTexts),
    assembler: data => assembler(data, raws, code.enums, JSON.parse, RealDate),
  }
}

/** Takes the values of a row's tags: `n` is the tag's place among those asked for. */
export interface TagBytes {
  tag(n: number, from: Buffer, start: number, end: number): void
}

/** Makes the function that reads the tags of one row, no further than its last one: values in the form of key columns. */
export function planTags(type: ObjectType, tags: readonly string[]): (bytes: TagBytes) => (reader: ByteReader) => void {
  const code = new PlanCode([])
  const text = code.tagPieces(type.fields, tags)
  const reader = new Function('g', 'texts', `return r => { ${text} }`)
  return bytes => reader(bytes, code.enumTexts)
}

/** Taken before the purity guards wrap the global one, which would slow each decoded date. */
const RealDate = Date

const quote = (text: string): string => JSON.stringify(text)

const isNumbers = (kind: ColumnKind): boolean =>
  kind === 'tags' || kind === 'small' || kind === 'int' || kind === 'float'

const bindColumn = (column: PlannedColumn, n: number): string =>
  isNumbers(column.kind) ? `const c${n} = c[${n}].numbers();` : `const c${n} = c[${n}];`

/** Decodes the values of a raw column. */
export function rawDecoder({ kind, type }: PlannedColumn): ((bytes: Buffer) => unknown) | undefined {
  if (kind !== 'raw') return undefined
  if (type.kind === 'bytes') return bytes => new Uint8Array(bytes)
  const codec = createRowCodec({ kind: 'object', fields: [{ name: 'v', type }] })
  return bytes => codec.decode(new Reader(bytes))['v']
}

/** The kind of column that a leaf's values go to. */
export function kindOf(type: ValueType): ColumnKind {
  switch (type.kind) {
    case 'int32':
    case 'int':
    case 'date':
    case 'enum':
      return 'int'
    case 'float':
      return 'float'
    case 'bigint':
      return 'bigint'
    case 'boolean':
      return 'small'
    case 'string':
    case 'json':
      return 'text'
    default:
      return 'raw'
  }
}

/** The fields of an object, and of a record with known keys, which is stored as one. */
export function fieldsOf(type: ValueType): readonly Field[] | undefined {
  if (type.kind === 'object') return type.fields
  if (type.kind === 'record' && type.keys) return type.keys.map(name => ({ name, type: type.value }))
  return undefined
}

const SKIP_INT = 'while (r.buffer[r.at++] >= 0x80);'
const SKIP_BYTES = '{ const l = r.varint(); r.at += l; }'

class PlanCode {
  readonly #columns: PlannedColumn[]
  readonly enums: (readonly string[])[] = []
  readonly enumTexts: (readonly Buffer[])[] = []
  next = 0
  #fresh = 0

  constructor(columns: PlannedColumn[]) {
    this.#columns = columns
  }

  shredFields(fields: readonly Field[], path: string, tags: readonly number[], key: readonly string[] = []): string {
    return fields
      .map(({ name, type }) => {
        const of = path === '' ? name : `${path}.${name}`
        const n = key.indexOf(name)
        const shred = this.#shred(type, of, tags)
        return n < 0 ? shred : `const ks${n} = r.at; ${shred} const ke${n} = r.at;`
      })
      .join(' ')
  }

  /** Gives a key column's bytes; the enclosing code has kept where they stand. */
  keyPiece(fields: readonly Field[], name: string, n: number): string {
    const type = fields.find(field => field.name === name)?.type
    if (type?.kind !== 'enum') return `k.add(r.buffer, ks${n}, ke${n});`
    this.enumTexts.push(type.values.map(value => Buffer.from(`${value}\0`)))
    const texts = `texts[${this.enumTexts.length - 1}]`
    return `{ const t = ${texts}[r.buffer[ks${n}] < 0x80 ? r.buffer[ks${n}] : (r.buffer[ks${n}] & 0x7f) + r.buffer[ks${n} + 1] * 0x80]; k.add(t, 0, t.length); }`
  }

  #column(kind: ColumnKind, name: string, type: ValueType, tags: readonly number[]): number {
    return this.#columns.push({ kind, name, type, tags }) - 1
  }

  #shred(type: ValueType, path: string, tags: readonly number[]): string {
    if (type.kind === 'nullable') {
      const tag = this.#column('tags', path, type, tags)
      const from = this.#columns.length
      const inner = this.#shred(type.inner, path, [...tags, tag])
      const blank = Array.from({ length: this.#columns.length - from }, (_, n) => `c${from + n}.blank();`).join(' ')
      return `{ const t = r.u8(); c${tag}.push(t); if (t === 1) { ${inner} } else { ${blank} } }`
    }
    const fields = fieldsOf(type)
    if (fields) return this.shredFields(fields, path, tags)
    const n = this.#column(kindOf(type), path, type, tags)
    switch (type.kind) {
      case 'int32':
      case 'int':
      case 'date':
        return `c${n}.push(r.int());`
      case 'enum':
        return `c${n}.push(r.varint());`
      case 'boolean':
        return `c${n}.push(r.u8());`
      case 'float':
        return `c${n}.push(r.f64());`
      case 'bigint':
        return `if (r.u8() === 0) c${n}.push(r.int()); else c${n}.wide(r.string());`
      case 'string':
      case 'json':
      case 'bytes':
        return `{ const l = r.varint(); c${n}.push(r.buffer, r.at, r.at + l); r.at += l; }`
      default: {
        const start = `s${this.#fresh++}_`
        return `const ${start} = r.at; ${this.#skip(type)} c${n}.push(r.buffer, ${start}, r.at);`
      }
    }
  }

  skipToKey(fields: readonly Field[], key: readonly string[]): string {
    const last = fields.findLastIndex(field => key.includes(field.name))
    return fields
      .slice(0, last + 1)
      .map(({ name, type }) => {
        const n = key.indexOf(name)
        return n < 0 ? this.#skip(type) : `const ks${n} = r.at; ${this.#skip(type)} const ke${n} = r.at;`
      })
      .join(' ')
  }

  tagPieces(fields: readonly Field[], tags: readonly string[]): string {
    const last = fields.findLastIndex(field => tags.includes(field.name))
    return fields
      .slice(0, last + 1)
      .map(({ name, type }) => (tags.includes(name) ? this.#tag(type, tags.indexOf(name)) : this.#skip(type)))
      .join(' ')
  }

  #tag(type: ValueType, n: number): string {
    if (type.kind === 'nullable') return `if (r.u8() === 1) { ${this.#tag(type.inner, n)} }`
    if (type.kind === 'array') return this.#loop(this.#tag(type.element, n))
    if (type.kind !== 'enum') return `{ const s = r.at; ${this.#skip(type)} g.tag(${n}, r.buffer, s, r.at); }`
    this.enumTexts.push(type.values.map(value => Buffer.from(`${value}\0`)))
    return `{ const t = texts[${this.enumTexts.length - 1}][r.varint()]; g.tag(${n}, t, 0, t.length); }`
  }

  #skip(type: ValueType): string {
    switch (type.kind) {
      case 'int32':
      case 'int':
      case 'date':
      case 'enum':
        return SKIP_INT
      case 'boolean':
        return 'r.at++;'
      case 'float':
        return 'r.at += 8;'
      case 'bigint':
        return `if (r.u8() === 0) { ${SKIP_INT} } else ${SKIP_BYTES}`
      case 'string':
      case 'json':
      case 'bytes':
        return SKIP_BYTES
      case 'nullable':
        return `if (r.u8() === 1) { ${this.#skip(type.inner)} }`
      case 'array':
        return this.#loop(this.#skip(type.element))
      case 'map':
        return this.#loop(`${this.#skip(type.key)} ${this.#skip(type.value)}`)
      default: {
        const fields = fieldsOf(type)
        if (fields) return fields.map(field => this.#skip(field.type)).join(' ')
        return this.#loop(`${SKIP_BYTES} ${type.kind === 'record' ? this.#skip(type.value) : ''}`)
      }
    }
  }

  #loop(body: string): string {
    const n = `n${this.#fresh++}_`
    return `for (let ${n} = r.varint(); ${n} > 0; ${n}--) { ${body} }`
  }

  rowOfFields(fields: readonly Field[]): string {
    return `{ ${fields.map(field => `[${quote(field.name)}]: ${this.#value(field.type)}`).join(', ')} }`
  }

  /** An expression for the value at index i; columns are taken in the order in which `#shred` made them. */
  #value(type: ValueType): string {
    if (type.kind === 'nullable') {
      const tag = this.next++
      return `(c${tag}[i] === 1 ? ${this.#value(type.inner)} : ${type.optional ? `c${tag}[i] === 2 ? undefined : null` : 'null'})`
    }
    const fields = fieldsOf(type)
    if (fields) return `(${this.rowOfFields(fields)})`
    const n = this.next++
    switch (type.kind) {
      case 'int32':
      case 'int':
      case 'float':
        return `c${n}[i]`
      case 'date':
        return `new Date(c${n}[i])`
      case 'boolean':
        return `(c${n}[i] === 1)`
      case 'enum':
        this.enums.push(type.values)
        return `enums[${this.enums.length - 1}][c${n}[i]]`
      case 'bigint':
        return `c${n}.bigint(i)`
      case 'string':
        return `c${n}.text(i)`
      case 'json':
        return `parse(c${n}.text(i))`
      default:
        return `raws[${n}](c${n}.bytes(i))`
    }
  }
}
