// Code that puts a value of a contract into a row of a run, word by word: what readers of other forms than the log's own have in
// common. What it takes, and how it is kept, is what the row codec takes and gives back.
import { ByteReader, ByteWriter } from './bytes.ts'
import type { ValueType } from './describe.ts'
import { createRowCodec } from './row-codec.ts'
import { runAt, type ViewSlot } from './row-view.ts'

/** What `keep` gives for a value that is not of its type. */
export const REFUSED = Symbol('refused')

/** Keeps a value as the log would: a copy, through its stored form. */
export function keeper(type: ValueType): (value: unknown) => unknown {
  const codec = createRowCodec({ kind: 'object', fields: [{ name: 'v', type }] })
  const writer = new ByteWriter()
  return v => {
    writer.at = 0
    try {
      codec.encode(writer, { v })
    } catch {
      return REFUSED
    }
    return codec.decode(new ByteReader(writer.buffer))['v']
  }
}

/** Writes such code. The variables are `w`, `x` (words and references), `i` (the row), `t` (the text, with room for texts). */
export class PutCode {
  /** Gives a constant a name. */
  readonly #constant: (value: unknown) => string
  readonly #refused: string
  #next = 0

  constructor(constant: (value: unknown) => string) {
    this.#constant = constant
    this.#refused = constant(REFUSED)
  }

  /** Statements that put the value of an expression, or return undefined where it does not fit. */
  put(slot: ViewSlot, value: string): string {
    const v = `p${this.#next++}`
    return `const ${v} = ${value}; ${this.#put(slot, v)}`
  }

  #put(slot: ViewSlot, v: string): string {
    switch (slot.kind) {
      case 'word':
        return this.#putWord(slot.type, `w[${runAt(slot.word)}]`, v)
      case 'bigint': {
        const [w, x] = [`w[${runAt(slot.word)}]`, `x[${runAt(slot.ref)}]`]
        return `if (typeof ${v} !== 'bigint') return undefined; if (${v} >= -9007199254740991n && ${v} <= 9007199254740991n) ${w} = Number(${v}); else { ${w} = -Infinity; ${x} = ${v}; }`
      }
      case 'text':
        return `if (typeof ${v} !== 'string' || !t.write(${v})) return undefined; ${this.textAt(slot, 't.at', 't.length')}`
      case 'value': {
        const kept = `p${this.#next++}`
        return `const ${kept} = ${this.#constant(keeper(slot.type))}(${v}); if (${kept} === ${this.#refused}) return undefined; x[${runAt(slot.ref)}] = ${kept};`
      }
      case 'group':
        return `if (typeof ${v} !== 'object' || ${v} === null) return undefined; ${slot.fields.map(field => this.put(field.slot, `${v}[${JSON.stringify(field.name)}]`)).join(' ')}`
      case 'nullable': {
        const w = `w[${runAt(slot.word)}]`
        const absent = slot.optional ? `else if (${v} === undefined) ${w} = Infinity; ` : ''
        return `if (${v} === null) ${w} = NaN; ${absent}else { ${w} = 1; ${this.#put(slot.inner, v)} }`
      }
    }
  }

  /** Says where a text stands. */
  textAt(slot: Extract<ViewSlot, { kind: 'text' }>, at: string, length: string): string {
    return `w[${runAt(slot.word)}] = ${at}; w[${runAt(slot.word + 1)}] = ${length}; x[${runAt(slot.ref)}] = undefined;`
  }

  #putWord(type: ValueType, w: string, v: string): string {
    switch (type.kind) {
      case 'int32':
        return `if (${v} !== (${v} | 0)) return undefined; ${w} = ${v} + 0;`
      case 'int':
        return `if (!Number.isSafeInteger(${v})) return undefined; ${w} = ${v} + 0;`
      case 'boolean':
        return `if (typeof ${v} !== 'boolean') return undefined; ${w} = ${v} ? 1 : 0;`
      case 'date':
        return `if (!(${v} instanceof RealDate) || Number.isNaN(${v}.getTime())) return undefined; ${w} = ${v}.getTime();`
      case 'enum': {
        const indexes = this.#constant(new Map(type.values.map((value, n) => [value, n])))
        const at = `p${this.#next++}`
        return `const ${at} = ${indexes}.get(${v}); if (${at} === undefined) return undefined; ${w} = ${at};`
      }
      default:
        return `if (!Number.isFinite(${v})) return undefined; ${w} = ${v};`
    }
  }
}
