// Where each field of a state stands in a row: numbers and dates are one word each (a word is a float64), an int32, a boolean or
// an enum that is never null is half of one, in an Int32Array over the same memory; a closed object or a record over an enum is the words of its fields; strings, nested values and maps are references in the
// row's side array. Every number that a state may hold is finite, so that null and undefined need no room of their own:
// null is NaN, undefined is +Infinity, and −Infinity says that a bigint beyond ±2^53 stands in the side array.
import type { Field, ObjectType, ValueType } from '../../core/index.ts'

/** The hidden word with which every row begins: its key, or where the key's bytes are (`KeyHeap`), NaN where there is none. */
export const KEY = 0
/** The halves of the next word. What a row holds begins behind them. */
export const SUPPORT = 2
export const FLAGS = 3
const HEADER_WORDS = 2
/**
 * Support counts up to here, and stays there. A row of so many events is there as one of more of them would be; only the removal
 * of a table's row from it cannot be told.
 */
export const SUPPORT_MAX = 0x7fffffff

/** What a field may hold besides its value. */
export interface Absence {
  readonly nullable: boolean
  readonly optional: boolean
}

type WordType = Extract<ValueType, { kind: 'int32' | 'int' | 'float' | 'boolean' | 'date' | 'enum' }>

/** Its number among a row's words, or among the halves of them, which are twice as many. */
export interface WordPlace {
  readonly word: number
  readonly half: boolean
}

export type Slot =
  | (Absence & { readonly kind: 'word'; readonly type: WordType } & WordPlace)
  | (Absence & { readonly kind: 'bigint'; readonly word: number; readonly ref: number })
  | (Absence & { readonly kind: 'value'; readonly type: ValueType; readonly ref: number })
  | (Absence & { readonly kind: 'map'; readonly type: Extract<ValueType, { kind: 'map' }>; readonly ref: number })
  /** `presence` is the word that says whether a nullable group is there; −1 where it always is. */
  | (Absence & { readonly kind: 'group'; readonly fields: readonly NamedSlot[]; readonly presence: number })

export interface NamedSlot {
  readonly name: string
  readonly slot: Slot
}

export interface Layout {
  readonly fields: readonly NamedSlot[]
  /** Fields that are kept with a row and shown to nobody; they stand last. */
  readonly hidden: readonly NamedSlot[]
  /** Words of a row without those of its hidden fields. */
  readonly shownWords: number
  /** References of a row without those of its hidden fields. */
  readonly shownRefs: number
  /** Words of a row, the hidden ones too. */
  readonly words: number
  /** References of a row, those of its hidden fields too. */
  readonly refs: number
  /** Words of floats that are never null: sums of them drift, so that they need not come back to where they began. */
  readonly drifting: ReadonlySet<number>
  /** References of maps that are never null: one that nobody has read yet is undefined, and equals an empty one. */
  readonly maps: ReadonlySet<number>
}

/** @param hiddenFields fields that are kept with each row and shown to nobody */
export function layoutOf(type: ObjectType, hiddenFields: readonly Field[]): Layout {
  const next: Next = { words: HEADER_WORDS, half: -1, refs: 0, drifting: new Set(), maps: new Set() }
  const fields = slotsOf(type.fields, next)
  const [shownWords, shownRefs] = [next.words, next.refs]
  // What is not shown shares no word with what is.
  next.half = -1
  const hidden = slotsOf(hiddenFields, next)
  const { words, refs, drifting, maps } = next
  return { fields, hidden, shownWords, shownRefs, words, refs, drifting, maps }
}

interface Next {
  words: number
  /** A half that is free; −1 where none is. */
  half: number
  refs: number
  readonly drifting: Set<number>
  readonly maps: Set<number>
}

const slotsOf = (fields: readonly Field[], next: Next): NamedSlot[] =>
  fields.map(({ name, type }) => ({ name, slot: slotOf(type, next) }))

function slotOf(given: ValueType, next: Next): Slot {
  const nullable = given.kind === 'nullable'
  const type = nullable ? given.inner : given
  const absence = { nullable, optional: nullable && given.optional }
  switch (type.kind) {
    case 'int32':
    case 'int':
    case 'float':
    case 'boolean':
    case 'date':
    case 'enum':
      if (type.kind === 'float' && !nullable) next.drifting.add(next.words)
      return { kind: 'word', ...absence, type: type as WordType, ...placeOf(type.kind, nullable, next) }
    case 'bigint':
      return { kind: 'bigint', ...absence, word: next.words++, ref: next.refs++ }
    case 'map':
      if (!nullable) next.maps.add(next.refs)
      return { kind: 'map', ...absence, type, ref: next.refs++ }
    default: {
      const fields = closedFields(type)
      if (!fields) return { kind: 'value', ...absence, type, ref: next.refs++ }
      const presence = nullable ? next.words++ : -1
      return { kind: 'group', ...absence, presence, fields: slotsOf(fields, next) }
    }
  }
}

/** Null has no room in a half. */
function placeOf(kind: string, nullable: boolean, next: Next): WordPlace {
  if (nullable || !HALVES.has(kind)) return { word: next.words++, half: false }
  const word = next.half < 0 ? 2 * next.words++ : next.half
  next.half = next.half < 0 ? word + 1 : -1
  return { word, half: true }
}

/** A statement that adds one to the support of a row whose halves `h` begin at twice `b`. */
export const ADD_SUPPORT = `{ const s = h[(b << 1) + ${SUPPORT}]; if (s !== ${SUPPORT_MAX}) h[(b << 1) + ${SUPPORT}] = s + 1 }`

const HALVES: ReadonlySet<string> = new Set(['int32', 'boolean', 'enum'])

/** The fields of what always has the same ones: an object, or a record over an enum. */
function closedFields(type: ValueType): readonly Field[] | undefined {
  if (type.kind === 'object') return type.fields
  if (type.kind === 'record') return type.keys?.map(name => ({ name, type: type.value }))
  return undefined
}

/** Text of a place in a row whose words `w` and halves `h` begin at `b` and twice `b`. */
export const placeIn = ({ word, half }: WordPlace): string => (half ? `h[(b << 1) + ${word}]` : `w[b + ${word}]`)
