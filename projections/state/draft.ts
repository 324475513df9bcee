// The accessors by which handlers see a row: generated per layout, own and enumerable, so that `{ ...row }` and JSON.stringify
// copy the row, and so that `state.count++` is a load, a check and a store. What is written is checked at the write. Used
// after the handler has returned, they throw. Names reach the generated text only through JSON.stringify.
import { type AnyRow, fail, type ValueType } from '../../core/index.ts'
import { type Layout, type NamedSlot, placeIn, type Slot, type WordPlace } from './layout.ts'
import { bytesOf, notOfType, settle } from './nested.ts'
import type { Place } from './place.ts'
import { type MapOwner, StateMap } from './state-map.ts'

export interface DraftCode {
  /** Makes what handlers are given: the row at which `at` stands. */
  row(at: Place): AnyRow
  /** A copy of a row as a plain object; nested values are the frozen ones that the row holds. */
  toObject(words: Float64Array, halves: Int32Array, base: number, refs: readonly unknown[], refBase: number): AnyRow
  /** The same with its hidden fields. */
  toStored(words: Float64Array, halves: Int32Array, base: number, refs: readonly unknown[], refBase: number): AnyRow
}

const known = new WeakMap<object, DraftCode>()

/**
 * The accessors of a view's rows. Made once per definition, however often it is opened: a handler that meets rows of many
 * classes is several times slower.
 * @param owner names the row in errors: `a row of 'accounts'`
 */
export function draftCode(definition: object, layout: Layout, owner: string): DraftCode {
  const made = known.get(definition) ?? generate(layout, owner)
  known.set(definition, made)
  return made
}

function generate(layout: Layout, owner: string): DraftCode {
  const text = new Text(layout)
  const expired = (field: string): never => {
    throw fail('CURSOR_EXPIRED', `${owner} was used after its handler returned`, { detail: `its field '${field}'` })
  }
  const bad = (path: string, expected: string, value: unknown): never => {
    throw notOfType(path, expected, value)
  }
  const makeMap = (at: Place, field: number, from: unknown) =>
    new StateMap(mapOwner(at, text.maps[field]!, expired), from as ReadonlyMap<unknown, unknown> | undefined)
  const refuse = (at: Place, n: number, value: unknown): never => {
    const { path, expected } = text.refusals[n]!
    return at.base < 0 ? expired(path) : bad(path, expected, value)
  }
  const { isFinite: isNumber, isSafeInteger: isInt } = Number
  const { types } = text
  const env = { expired, bad, refuse, isInt, isNumber, settle, heldBytes, makeMap, types, Date: RealDate, plainMap }
  // As parameters, since constants are looked at for whether they are set, on each use.
  return new Function(...Object.keys(env), text.program)(...Object.values(env)) as DraftCode
}

/** Taken before the purity guards wrap the global one. */
const RealDate = Date

/** About how many bytes a reference of a row holds in the heap. */
export function heldBytes(value: unknown): number {
  return value instanceof StateMap ? value.bytes : bytesOf(value)
}

const plainMap = (value: unknown): unknown =>
  value === null ? null : new Map((value as ReadonlyMap<unknown, unknown> | undefined) ?? [])

interface MapPlace {
  readonly path: string
  readonly type: Extract<ValueType, { kind: 'map' }>
  readonly ref: number
}

function mapOwner(at: Place, { path, type, ref }: MapPlace, expired: (field: string) => never): MapOwner {
  return {
    type,
    path,
    checkOpen(map) {
      if (at.base < 0 || at.refs[at.refBase + ref] !== map) expired(path)
    },
    grow(bytes) {
      at.heapBytes += bytes
    },
    get undo() {
      return at.undo
    },
  }
}

const quote = (text: string): string => JSON.stringify(text)

/** What a setter refuses. */
interface Refusal {
  readonly path: string
  readonly expected: string
}

/**
 * Writes the program: a class per group of fields. Its accessors stand on each object itself, as what a spread copies; that
 * they are the same functions for all of them makes the objects one class to the engine. The engine puts accessors into the code of
 * a handler up to a bound of their size, and calls the others: so theirs is kept small, errors being made elsewhere.
 */
class Text {
  readonly program: string
  readonly types: unknown[] = []
  readonly maps: MapPlace[] = []
  readonly refusals: Refusal[] = []
  readonly #groups: string[] = []

  constructor(layout: Layout) {
    const row = this.#group(layout.fields, '', '', layout.hidden)
    const copy = this.#objectOf(layout.fields)
    const stored = this.#objectOf([...layout.fields, ...layout.hidden])
    this.program = `'use strict'
${this.#groups.join('\n')}
return { row: at => new ${row}(at), toObject(w, h, b, r, rb) { return ${copy} }, toStored(w, h, b, r, rb) { return ${stored} } }`
  }

  /** Writes the class of a group of fields, and gives its name. */
  #group(fields: readonly NamedSlot[], path: string, guard: string, hidden: readonly NamedSlot[] = []): string {
    const inner: string[] = []
    const accessors = [...fields, ...hidden].map((field, n) => {
      const { name, slot } = field
      const at = `${path}${name}`
      const check = `const at = this.#at; if (at.base < 0${guard}) expired(${quote(at)});`
      const [read, write] = this.#accessor(slot, at, guard, inner)
      const set = (guard === '' && this.#shortSetter(slot, at)) || `${check} ${write}`
      return `[${quote(name)}]: { enumerable: ${n < fields.length}, get() { ${check} ${read} }, set(v) { ${set} } }`
    })
    const name = `Group${this.#groups.length}`
    this.#groups.push(`class ${name} {
#at; ${inner.map((_, n) => `#g${n};`).join(' ')}
constructor(at) { this.#at = at; ${inner.map((group, n) => `this.#g${n} = new ${group}(at);`).join(' ')} Object.defineProperties(this, ${name}.accessors) }
static accessors = { ${accessors.join(',\n')} }
}`)
    return name
  }

  /** The setter of a field that is never null and has one condition: with one branch, for what is refused and for use too late. */
  #shortSetter(slot: Slot, path: string): string | undefined {
    if (slot.kind !== 'word' || slot.nullable) return undefined
    const wrong = wrongWord(slot.type)
    if (wrong === undefined) return undefined
    const n = this.refusals.push({ path, expected: wrong.expected }) - 1
    return `const at = this.#at; if (at.base < 0 || ${wrong.condition}) refuse(at, ${n}, v); ${placeAt(slot)} = ${this.#toWord(slot.type)};`
  }

  /** Statements that return a field's value, and that take `v` as its new one. */
  #accessor(slot: Slot, path: string, guard: string, groups: string[]): [read: string, write: string] {
    switch (slot.kind) {
      case 'word': {
        const word = placeAt(slot)
        const read = slot.nullable
          ? `const w = ${word}; return ${absent(slot, 'w', this.#ofWord(slot.type, 'w'))};`
          : `return ${this.#ofWord(slot.type, word)};`
        return [
          read,
          `${setAbsent(slot, `${word} = `)}${this.#checkWord(slot.type, path)} ${word} = ${this.#toWord(slot.type)};`,
        ]
      }
      case 'bigint': {
        const [word, ref] = [wordAt(slot.word), refAt(slot.ref)]
        const store = `const n = Number(v); ${clearRef(ref)} if (Number.isSafeInteger(n)) ${word} = n; else { ${word} = -Infinity; ${ref} = v; at.heapBytes += heldBytes(v); }`
        const none = setAbsent(slot, `${clearRef(ref)} ${word} = `)
        const check = `if (typeof v !== 'bigint') bad(${quote(path)}, 'a bigint', v);`
        return [
          `const w = ${word}; return ${absent(slot, 'w', `w === -Infinity ? ${ref} : BigInt(w)`)};`,
          `${none}${check} ${store}`,
        ]
      }
      case 'value':
        return this.#valueAccessor(slot, path)
      case 'map':
        return this.#mapAccessor(slot, path)
      case 'group':
        return this.#groupAccessor(slot, path, guard, groups)
    }
  }

  #valueAccessor(slot: Extract<Slot, { kind: 'value' }>, path: string): [string, string] {
    const ref = refAt(slot.ref)
    const { type } = slot
    const take = (value: string) => `const x = ${value}; at.heapBytes += heldBytes(x) - heldBytes(${ref}); ${ref} = x;`
    const none = setAbsent(slot, `${clearRef(ref)} ${ref} = `, 'null', 'undefined')
    if (type.kind === 'string') {
      const check = `if (typeof v !== 'string' || !v.isWellFormed()) settle(${this.#constant(type)}, v, ${quote(path)});`
      return [`return ${ref};`, `${none}if (v === ${ref}) return; ${check} ${take('v')}`]
    }
    const settled = `settle(${this.#constant(type)}, v, ${quote(path)})`
    const read =
      type.kind === 'bytes' ? `const x = ${ref}; return x instanceof Uint8Array ? x.slice() : x;` : `return ${ref};`
    return [read, `${none}${take(settled)}`]
  }

  #mapAccessor(slot: Extract<Slot, { kind: 'map' }>, path: string): [string, string] {
    const ref = refAt(slot.ref)
    const n = this.maps.length
    const make = (from: string) => `makeMap(at, ${n}, ${from})`
    this.maps.push({ path, type: slot.type, ref: slot.ref })
    const none = slot.nullable ? `if (x === null || x === undefined) return x;` : ''
    const grow = `at.heapBytes += m.bytes - heldBytes(x); ${ref} = m;`
    const read = `const x = ${ref}; if (x !== undefined && x !== null && x.bytes !== undefined) return x; ${none} const m = ${make('x')}; ${grow} return m;`
    const check = `if (!(v instanceof Map)) bad(${quote(path)}, 'a Map', v);`
    const write = `${setAbsent(slot, `${clearRef(ref)} ${ref} = `, 'null', 'undefined')}${check} const x = ${ref}; if (x === v) return; const m = ${make('v')}; ${grow}`
    return [read, write]
  }

  #groupAccessor(
    slot: Extract<Slot, { kind: 'group' }>,
    path: string,
    guard: string,
    groups: string[],
  ): [string, string] {
    const here = slot.presence < 0 ? '' : wordAt(slot.presence)
    const group = `this.#g${groups.push(this.#group(slot.fields, `${path}.`, here ? `${guard} || ${here} !== 1` : guard)) - 1}`
    const check = `if (typeof v !== 'object' || v === null) bad(${quote(path)}, 'an object', v); const g = ${group}; if (v === g) return;`
    const assign = slot.fields.map(({ name }) => `g[${quote(name)}] = v[${quote(name)}];`).join(' ')
    if (!here) return [`return ${group};`, `${check} ${assign}`]
    const none = setAbsent(slot, `${clearGroup(slot.fields)} ${here} = `)
    return [`const w = ${here}; return ${absent(slot, 'w', group)};`, `${none}${check} ${here} = 1; ${assign}`]
  }

  /** A constant of the program that is not text. */
  #constant(value: unknown): string {
    let index = this.types.indexOf(value)
    if (index < 0) index = this.types.push(value) - 1
    return `types[${index}]`
  }

  #ofWord(type: ValueType, w: string): string {
    switch (type.kind) {
      case 'boolean':
        return `${w} === 1`
      case 'date':
        return `new Date(${w})`
      case 'enum':
        return `${this.#constant(type.values)}[${w}]`
      default:
        return w
    }
  }

  #toWord(type: ValueType): string {
    switch (type.kind) {
      case 'boolean':
        return 'v ? 1 : 0'
      case 'date':
        return 'v.getTime()'
      case 'enum':
        return 'i'
      // Of two zeros a checkpoint knows one.
      case 'int32':
        return 'v | 0'
      case 'int':
        return 'v + 0'
      default:
        return 'v'
    }
  }

  #checkWord(type: ValueType, path: string): string {
    const wrong = wrongWord(type)
    if (wrong) return `if (${wrong.condition}) bad(${quote(path)}, ${quote(wrong.expected)}, v);`
    if (type.kind !== 'enum') return ''
    const cases = type.values.map((value, n) => `case ${quote(value)}: i = ${n}; break;`).join(' ')
    const other = `default: bad(${quote(path)}, ${quote(`one of ${type.values.join(', ')}`)}, v);`
    return `let i = 0; switch (v) { ${cases} ${other} }`
  }

  /** An expression for a plain copy of fields; `w`, `h`, `b`, `r`, `rb` say where the row stands. */
  #objectOf(fields: readonly NamedSlot[]): string {
    return `({ ${fields.map(({ name, slot }) => `[${quote(name)}]: ${this.#copyOf(slot)}`).join(', ')} })`
  }

  #copyOf(slot: Slot): string {
    switch (slot.kind) {
      case 'word':
        return absent(slot, placeIn(slot), this.#ofWord(slot.type, placeIn(slot)))
      case 'bigint': {
        const word = `w[b + ${slot.word}]`
        return absent(slot, word, `(${word} === -Infinity ? r[rb + ${slot.ref}] : BigInt(${word}))`)
      }
      case 'value': {
        const ref = `r[rb + ${slot.ref}]`
        return slot.type.kind === 'bytes' ? `(${ref} instanceof Uint8Array ? ${ref}.slice() : ${ref})` : ref
      }
      case 'map': {
        const ref = `r[rb + ${slot.ref}]`
        return slot.optional ? `(${ref} === undefined ? undefined : plainMap(${ref}))` : `plainMap(${ref})`
      }
      case 'group': {
        const copy = this.#objectOf(slot.fields)
        return slot.presence < 0 ? copy : absent(slot, `w[b + ${slot.presence}]`, copy)
      }
    }
  }
}

/** What is no value of a type, where that is one condition of `v`. */
function wrongWord({ kind }: ValueType): { readonly condition: string; readonly expected: string } | undefined {
  switch (kind) {
    case 'int32':
      return { condition: 'v !== (v | 0)', expected: 'an int32' }
    case 'int':
      return { condition: '!isInt(v)', expected: 'a safe integer' }
    case 'float':
      return { condition: '!isNumber(v)', expected: 'a finite number' }
    case 'boolean':
      return { condition: `typeof v !== 'boolean'`, expected: 'a boolean' }
    case 'date':
      return { condition: '!(v instanceof Date) || v.getTime() !== v.getTime()', expected: 'a valid date' }
    default:
      return undefined
  }
}

const wordAt = (word: number): string => `at.words[at.base + ${word}]`
const placeAt = ({ word, half }: WordPlace): string => (half ? `at.halves[(at.base << 1) + ${word}]` : wordAt(word))
const refAt = (ref: number): string => `at.refs[at.refBase + ${ref}]`

/** `value`, unless the word `w` says that there is none. */
function absent({ nullable, optional }: Slot, w: string, value: string): string {
  if (!nullable) return `(${value})`
  return `(${w} !== ${w} ? null : ${optional ? `${w} === Infinity ? undefined : ` : ''}${value})`
}

/** A statement that takes null and undefined, where the field may be so. */
function setAbsent({ nullable, optional }: Slot, store: string, none = 'NaN', missing = 'Infinity'): string {
  if (!nullable) return ''
  const undefinedToo = optional ? `if (v === undefined) { ${store}${missing}; return; } ` : ''
  return `if (v === null) { ${store}${none}; return; } ${undefinedToo}`
}

const clearRef = (ref: string): string => `at.heapBytes -= heldBytes(${ref}); ${ref} = undefined;`

/** Statements after which fields that are not there hold nothing: equal rows have equal words. */
function clearGroup(fields: readonly NamedSlot[]): string {
  const clear = ({ slot }: NamedSlot): string => {
    switch (slot.kind) {
      case 'word':
        return `${placeAt(slot)} = 0;`
      case 'bigint':
        return `${wordAt(slot.word)} = 0; ${clearRef(refAt(slot.ref))}`
      case 'value':
      case 'map':
        return clearRef(refAt(slot.ref))
      case 'group':
        return `${slot.presence < 0 ? '' : `${wordAt(slot.presence)} = 0;`} ${clearGroup(slot.fields)}`
    }
  }
  return fields.map(clear).join(' ')
}
