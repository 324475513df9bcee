// Rows of a contract read from lines of JSON, straight from the bytes into the words of a run: code generated once per schema,
// and once more for the form in which a file's lines are written (order of keys, spaces, keys that are not of the contract), so
// that a line of that form is compared with constants between its values. What the code is not sure of (escapes in keys, transforms
// that fail, numbers out of range …) it leaves, and the caller asks JSON.parse and the contract's parser; what it takes, they take
// with the same result (test/core/contract/json-row.test.ts compares them over random contracts).
import type { z } from 'zod'
import { checksOf, type Def, defOf, describe, isJsonSafe } from './describe.ts'
import { isoTime, type JsonText } from './json-text.ts'
import { ParserCode } from './parser-code.ts'
import { PutCode } from './row-put.ts'
import { type RowSource, runAt, type ViewField, type ViewSlot } from './row-view.ts'
import { fromWire } from './wire.ts'

export interface JsonRowReader {
  /** Reads the object that begins at `at` as row `row` of the run; gives the place after it, undefined where it is not sure. */
  read(source: RowSource, text: JsonText, at: number, row: number): number | undefined
}

/** Lines that are not of the form at hand, before another one is learned; and how often that is done. */
const MISSES_MAX = 100
const FORMS_MAX = 4
const LITERAL_BYTES_MAX = 512

/** The rows' slots are those of `createRowViewCode` for the schema's output. Undefined where only zod can judge the whole. */
export function createJsonRowReader(schema: z.ZodObject, slots: readonly ViewField[]): JsonRowReader | undefined {
  if (!isOpenObject(defOf(schema))) return undefined
  const code = new JsonRowCode()
  const root = code.object(schema, slots)
  return new FormReader(code.compile(root), root.fields)
}

type ReadValue = (source: RowSource, text: JsonText, buffer: Buffer, at: number, row: number) => number | undefined

interface Compiled {
  readonly object: ReadValue
  readonly fields: readonly ReadValue[]
  /** Of fields that may be absent. */
  readonly absent: readonly (ReadValue | undefined)[]
}

/** Tries the form that was learned, then any. */
class FormReader implements JsonRowReader {
  readonly #code: Compiled
  readonly #names: readonly string[]
  #form: ReadValue | undefined
  #misses = MISSES_MAX
  #learned = 0

  constructor(code: Compiled, fields: readonly ObjectField[]) {
    this.#code = code
    this.#names = fields.map(({ name }) => name)
  }

  read(source: RowSource, text: JsonText, at: number, row: number): number | undefined {
    try {
      return this.#form?.(source, text, text.buffer, at, row) ?? this.#readAny(source, text, at, row)
    } catch {
      // A refinement or a transform threw: it will again, where its error can be told.
      return undefined
    }
  }

  #readAny(source: RowSource, text: JsonText, at: number, row: number): number | undefined {
    const end = this.#code.object(source, text, text.buffer, at, row)
    if (end !== undefined && this.#learned < FORMS_MAX && ++this.#misses > MISSES_MAX) {
      this.#misses = 0
      this.#learned++
      this.#form = this.#learn(text, at)
    }
    return end
  }

  /** @param at an object that was just read */
  #learn(text: JsonText, at: number): ReadValue | undefined {
    const { buffer } = text
    const seen = new Set<number>()
    const parts: string[] = []
    let from = at
    let p = text.space(at + 1)
    while (buffer[p] === 34) {
      const end = text.skip(p)!
      const field = this.#names.indexOf(buffer.toString('utf8', p + 1, end - 1))
      const value = text.space(text.space(end) + 1)
      parts.push(literalStep(buffer.subarray(from, value)))
      parts.push(
        field < 0 ? 'p = t.skip(p);' : `p = fields[${field}](s, t, b, p, i);`,
        'if (p === undefined) return undefined;',
      )
      seen.add(field)
      from = text.skip(value)!
      p = text.space(from)
      if (buffer[p] === 44) p = text.space(p + 1)
    }
    parts.push(literalStep(buffer.subarray(from, p + 1)))
    this.#names.forEach((_, n) => {
      if (!seen.has(n)) parts.push(`if (absent[${n}](s, t, b, p, i) === undefined) return undefined;`)
    })
    if (parts.some(part => part === '')) return undefined
    const program = `return (s, t, b, p, i) => { const d = t.view; ${parts.join('\n')} return p }`
    const { fields, absent } = this.#code
    return new Function('fields', 'absent', program)(fields, absent) as ReadValue
  }
}

/** Goes over bytes that must stand at `p`; empty where they are too many. */
const literalStep = (bytes: Uint8Array): string =>
  bytes.length > LITERAL_BYTES_MAX ? '' : `if (!(${literalTest(bytes, 'p')})) return undefined; p += ${bytes.length};`

/** An expression: whether these bytes stand at a place, four at a time. */
function literalTest(bytes: Uint8Array, at: string): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const tests: string[] = []
  let n = 0
  for (; n + 4 <= bytes.length; n += 4) tests.push(`d.getInt32(${at} + ${n}, true) === ${view.getInt32(n, true)}`)
  if (n + 2 <= bytes.length) {
    tests.push(`d.getInt16(${at} + ${n}, true) === ${view.getInt16(n, true)}`)
    n += 2
  }
  if (n < bytes.length) tests.push(`d.getUint8(${at} + ${n}) === ${view.getUint8(n)}`)
  return tests.join(' && ') || 'true'
}

/** True where an object takes keys that it does not know, and passes over them. */
const isOpenObject = (def: Def): boolean => def.type === 'object' && checksOf(def).length === 0 && !('catchall' in def)

interface ObjectField {
  readonly name: string
  /** Names of functions. */
  readonly read: string
  readonly absent: string | undefined
}

interface ObjectCode {
  readonly read: string
  readonly fields: readonly ObjectField[]
}

/** Writes the functions. Their variables: `s`, `t`, `b`: source, text, its buffer; `p`: place; `i`: row; `w`, `x`: words, references. */
class JsonRowCode {
  readonly #parser = new ParserCode()
  readonly #put: PutCode
  readonly #functions: string[] = []

  constructor() {
    this.#put = new PutCode(value => this.#constant(value))
  }

  #constant(value: unknown): string {
    return `c${this.#parser.constants.push(value) - 1}`
  }

  #function(body: string): string {
    const name = `f${this.#functions.length}`
    this.#functions.push(`function ${name}(s, t, b, p, i) { const w = s.words, x = s.refs; ${body} }`)
    return name
  }

  compile({ read, fields }: ObjectCode): Compiled {
    const absent = fields.map(field => field.absent ?? 'undefined')
    const program = `'use strict'
${this.#functions.join('\n')}
return { object: ${read}, fields: [${fields.map(field => field.read).join()}], absent: [${absent.join()}] }`
    const { constants } = this.#parser
    const names = constants.map((_, n) => `c${n}`)
    return new Function('RealDate', 'isoTime', 'powers', ...names, program)(RealDate, isoTime, POWERS, ...constants)
  }

  object(schema: z.ZodType, slots: readonly ViewField[]): ObjectCode {
    const shape = defOf(schema).shape ?? {}
    const fields = slots.map(({ name, slot }): ObjectField => {
      const field = shape[name]!
      return { name, read: this.#field(field, slot), absent: name in {} ? undefined : this.#absent(field, slot) }
    })
    return { read: this.#function(this.#anyForm(fields)), fields }
  }

  /** An object with its keys in any order. */
  #anyForm(fields: readonly ObjectField[]): string {
    const seen = fields.map((_, n) => `let h${n} = false;`).join(' ')
    const cases = fields.map(({ read }, n) => `case ${n}: p = ${read}(s, t, b, p, i); h${n} = true; break;`).join('\n')
    const absent = fields
      .map(({ absent }, n) => {
        const otherwise =
          absent === undefined ? 'return undefined' : `if (${absent}(s, t, b, p, i) === undefined) return undefined`
        return `if (!h${n}) { ${otherwise} }`
      })
      .join('\n')
    const names = fields.map(({ name }) => Buffer.from(name))
    return `const d = t.view; if (b[p] !== 123) return undefined; ${seen}
p = t.space(p + 1);
if (b[p] === 125) p++;
else for (;;) {
if (b[p] !== 34) return undefined;
const from = ++p;
let c;
while ((c = b[p]) !== 34) { if (c < 32 || c === 92) return undefined; p++; }
const length = p - from;
p = t.space(p + 1);
if (b[p] !== 58) return undefined;
p = t.space(p + 1);
let n = -1;
${matchText(names, 'from', 'length', 'n')}
switch (n) {
${cases}
default: p = t.skip(p);
}
if (p === undefined) return undefined;
p = t.space(p);
if (b[p] === 44) { p = t.space(p + 1); continue; }
if (b[p] === 125) { p++; break; }
return undefined;
}
${absent}
return p;`
  }

  /** What a field without its key is: a default, or undefined. (An object has `toString` of its own: that is zod's to judge.) */
  #absent(schema: z.ZodType, slot: ViewSlot): string | undefined {
    if (schema._zod.optin === undefined) return undefined
    const piece = this.#parser.value(schema, 'v')
    return this.#function(`const v = undefined; ${piece.code}\n${this.#put.put(slot, piece.value)} return p;`)
  }

  #field(schema: z.ZodType, slot: ViewSlot): string {
    return this.#function(this.#direct(schema, slot) ?? this.#byValue(schema, slot))
  }

  /** By way of a value of JavaScript: whatever the schema does with it. */
  #byValue(schema: z.ZodType, slot: ViewSlot): string {
    const type = describe(schema, 'input')
    const input = isJsonSafe(type) ? 'j' : `${this.#constant((json: unknown) => fromWire(type, json))}(j)`
    const piece = this.#parser.value(schema, 'v')
    return `const j = t.value(p); if (j === undefined) return undefined; const q = t.end; const v = ${input};
${piece.code}
${this.#put.put(slot, piece.value)} return q;`
  }

  /** Straight from the bytes; undefined where the schema does more than to say a type. */
  #direct(schema: z.ZodType, slot: ViewSlot): string | undefined {
    const def = defOf(schema)
    const { innerType } = def
    const checked = checksOf(def).length > 0
    if (innerType && !checked && (def.type === 'nullable' || def.type === 'optional' || def.type === 'default')) {
      // A nullable one in a nullable one has one slot.
      const inner =
        slot.kind === 'nullable'
          ? this.#direct(innerType, this.#within(innerType, slot))
          : this.#direct(innerType, slot)
      if (inner === undefined) return undefined
      const is = slot.kind === 'nullable' ? `w[${runAt(slot.word)}] = 1;` : ''
      const orNull =
        def.type === 'nullable' && slot.kind === 'nullable'
          ? `if (b[p] === 110) { if (t.skip(p) === undefined) return undefined; w[${runAt(slot.word)}] = NaN; return p + 4; }`
          : ''
      return `${orNull} ${is} ${inner}`
    }
    if (def.type === 'object') {
      if (slot.kind !== 'group' || !isOpenObject(def)) return undefined
      return `return ${this.object(schema, slot.fields).read}(s, t, b, p, i);`
    }
    if (def.coerce) return undefined
    if (slot.kind === 'word' && def.type === 'number') return this.#number(schema, slot)
    return checked ? undefined : this.#scalar(def, slot)
  }

  /** The slot of what is in a nullable: itself where that is nullable too. */
  #within(inner: z.ZodType, slot: Extract<ViewSlot, { kind: 'nullable' }>): ViewSlot {
    return describe(inner, 'output').kind === 'nullable' ? slot : slot.inner
  }

  #number(schema: z.ZodType, slot: Extract<ViewSlot, { kind: 'word' }>): string {
    const piece = this.#parser.value(schema, 'n')
    const put = `${piece.code}\n${this.#put.put(slot, piece.value)}`
    if (slot.type.kind === 'float') return `const n = t.number(p); const q = t.end; ${put} return q;`
    return `${INTEGER} ${put} return q;`
  }

  #scalar(def: Def, slot: ViewSlot): string | undefined {
    if (def.format !== undefined) return undefined
    if (slot.kind === 'text' && def.type === 'string') {
      const escaped = `if (c !== 92) return undefined; q = t.escaped(p); if (q === undefined) return undefined; ${this.#put.textAt(slot, 't.at', 't.length')} return q;`
      return `${TEXT} if (c !== 34) { ${escaped} } ${this.#put.textAt(slot, 'p + 1', 'q - p - 1')} return q + 1;`
    }
    if (slot.kind !== 'word') return undefined
    const w = `w[${runAt(slot.word)}]`
    switch (def.type) {
      case 'boolean':
        return `const c = b[p]; if (c !== 116 && c !== 102) return undefined; const q = t.skip(p); if (q === undefined) return undefined; ${w} = c === 116 ? 1 : 0; return q;`
      case 'date':
        return `${TEXT} if (c !== 34) return undefined; let ms = isoTime(b, p + 1, q);
if (ms !== ms) { ms = new RealDate(b.toString('utf8', p + 1, q)).getTime(); if (ms !== ms) return undefined; } ${w} = ms; return q + 1;`
      case 'enum':
      case 'literal': {
        if (slot.type.kind !== 'enum') return undefined
        const values = slot.type.values.map(value => Buffer.from(value))
        return `const d = t.view; ${TEXT} if (c !== 34) return undefined; const length = q - p - 1, from = p + 1; let n = -1; ${matchText(values, 'from', 'length', 'n')} if (n < 0) return undefined; ${w} = n; return q + 1;`
      }
      default:
        return undefined
    }
  }
}

/** Goes to the end of a text, or to what is not plain in it; `c` says which. */
const TEXT = `if (b[p] !== 34) return undefined; let q = p + 1, c; while ((c = b[q]) !== 34 && c !== 92 && c >= 32) q++;`

/** Reads `n`; up to 15 digits as integers in two halves, all else by `number`. */
const INTEGER = `let q = p, n = 0, c = b[q];
const negative = c === 45;
if (negative) c = b[++q];
const from = q;
c -= 48;
if (c >= 0 && c < 10) {
n = c;
while ((c = b[++q] - 48) >= 0 && c < 10 && q - from < 9) n = (n * 10 + c) | 0;
if (c >= 0 && c < 10) {
let m = 0, k = 0;
while (c >= 0 && c < 10 && k < 6) { m = (m * 10 + c) | 0; k++; c = b[++q] - 48; }
n = n * powers[k] + m;
}
if (negative) n = 0 - n;
}
if (q === from || (c >= 0 && c < 10) || c === -2 || c === 53 || c === 21 || (b[from] === 48 && q > from + 1)) { n = t.number(p); q = t.end; }`

const POWERS = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]

/** Statements that find which of some texts stands at a place, as its index in the variable `into`. */
function matchText(texts: readonly Uint8Array[], from: string, length: string, into: string): string {
  const byLength = Map.groupBy(texts.keys(), n => texts[n]!.length)
  const cases = [...byLength].map(([size, indexes]) => {
    const tests = indexes.map(n => `if (${literalTest(texts[n]!, from)}) ${into} = ${n};`).join(' else ')
    return `case ${size}: ${tests} break;`
  })
  return `switch (${length}) { ${cases.join('\n')} }`
}

/** Taken before the purity guards of projections wrap the global one. */
const RealDate = Date
