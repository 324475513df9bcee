// The handler calls that a view has skipped, `onError: 'skip'`: each with the record it was for, so that it can be called again
// when an operator says so in the log (`redrive`). They are part of the view's state, a function of the log like its rows, and of
// its checkpoints. A row of a table that did not come in because its `add` was skipped does not go either: until it leaves, or
// an update mends it, its letter says so; then the letter goes too.
import { isDeepStrictEqual } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import { type AnyRow, type ErrorReport, fail, type RecordOp } from '../../core/index.ts'
import type { StateMemory } from '../state/memory.ts'

/** Letters that a view may have at a time, where it says nothing else: beyond, it is the view that is wrong, not records. */
export const DEAD_LETTERS_MAX = 10_000

export type SkippedStep = 'add' | 'remove' | 'redrive'

/** A call that was skipped. */
export interface DeadLetter {
  /** Of the record. */
  readonly position: number
  /** The view's `.on` that it came by, counted from 0. */
  readonly route: number
  /** Which of the record's calls by that route, from 0: one for each key. −1: the key itself could not be had. */
  readonly call: number
  readonly step: 'add' | 'remove'
  readonly topic: string
  readonly op: RecordOp
  /** The row's, as text; null where it could not be had. */
  readonly keyText: string | null
  /** Its hash, by which key groups go; 0 where it could not be had. */
  readonly keyHash: number
  readonly error: ErrorReport
  /** Of the record, milliseconds since 1970. */
  readonly appendTimeMs: number
  /** What handlers were told of its time. */
  readonly timeMs: number
  /** How often it was called again, in vain. */
  readonly redriven: number
  /**
   * Route and key of a table's row, as text; undefined of events. While there is a letter of its `add`, the row is not in the view.
   * Rows of another view change together: at one position there are calls for many.
   */
  readonly input: string | undefined
  /** The record, and key of the input's row, as `node:v8` serializes them. */
  readonly record: Uint8Array
}

/** A letter as it is shown. */
export type DeadLetterEntry = Omit<DeadLetter, 'record'>

/** What a letter is about, beside the error. */
export type Skipped = Omit<DeadLetter, 'record' | 'redriven' | 'input' | 'error'>

/** Beside its record, about. */
const LETTER_BYTES = 512

/** Without the record, whose bytes depend on how it was read. */
const shownOf = ({ record: _, ...entry }: DeadLetter): DeadLetterEntry => entry

const idOf = ({
  position,
  route,
  step,
  call,
  input,
}: Pick<DeadLetter, 'position' | 'route' | 'step' | 'call' | 'input'>) =>
  `${position}/${route}/${step}/${call}/${input ?? ''}`

/** The order of the log, and of calls for one record. */
export const inOrder = (a: DeadLetterEntry, b: DeadLetterEntry): number =>
  a.position - b.position || (idOf(a) < idOf(b) ? -1 : 1)

/** The row that is not in because of a letter. */
const absentBy = ({ step, input }: DeadLetter): string | undefined => (step === 'add' ? input : undefined)

export class DeadLetters {
  readonly max: number
  readonly #view: string
  readonly #memory: StateMemory
  readonly #letters = new Map<string, DeadLetter>()
  /** Of table rows that are not in: route and key of the input's row → letters. A row that came twice has two by one call. */
  readonly #absent = new Map<string, Set<string>>()
  /** Letters that came, changed or went since the last checkpoint began, as they were last. */
  readonly #changed = new Map<string, DeadLetter>()
  #bytes = 0
  /** Calls that were skipped, ever. */
  total = 0
  /** Whether the total is another one than letters that changed account for. */
  #totalReplaced = false

  constructor(view: string, max: number, memory: StateMemory) {
    this.#view = view
    this.max = max
    this.#memory = memory
  }

  /** Letters that there are, and calls that were skipped. */
  get figures(): { readonly count: number; readonly total: number } {
    return { count: this.#letters.size, total: this.total }
  }

  /** In the order of the log. */
  list(): readonly DeadLetter[] {
    return [...this.#letters.values()].sort(inOrder)
  }

  /** The same, without the records. */
  entries(): readonly DeadLetterEntry[] {
    return this.list().map(shownOf)
  }

  /**
   * Notes a call that was skipped.
   * @param inputKey of a table's row; of no meaning for events
   * @throws DEAD_LETTERS_TOO_MANY, STATE_TOO_LARGE
   */
  add(skipped: Skipped, record: AnyRow, inputKey: unknown, isTable: boolean, error: ErrorReport): void {
    this.total++
    const input = isTable ? inputOf(skipped.route, inputKey) : undefined
    const id = idOf({ ...skipped, input })
    if (!this.#letters.has(id) && this.#letters.size >= this.max) throw this.#tooMany()
    this.#put(id, { ...skipped, error, redriven: 0, input, record: serialize({ record, inputKey }) })
  }

  #tooMany() {
    return fail('DEAD_LETTERS_TOO_MANY', `view '${this.#view}' has skipped too many records`, {
      detail: `${this.#letters.size} dead letters wait, the limit is ${this.max}`,
    })
  }

  #put(id: string, letter: DeadLetter): void {
    const before = this.#letters.get(id)
    this.#count(LETTER_BYTES + letter.record.length - (before ? LETTER_BYTES + before.record.length : 0))
    this.#letters.set(id, letter)
    this.#changed.set(id, letter)
    const absent = absentBy(letter)
    if (absent === undefined) return
    const ids = this.#absent.get(absent) ?? new Set<string>()
    this.#absent.set(absent, ids.add(id))
  }

  #remove(id: string): void {
    const letter = this.#letters.get(id)
    if (letter === undefined) return
    this.#letters.delete(id)
    this.#changed.set(id, letter)
    this.#count(-LETTER_BYTES - letter.record.length)
    const absent = absentBy(letter)
    const ids = absent === undefined ? undefined : this.#absent.get(absent)
    if (absent === undefined || ids === undefined) return
    ids.delete(id)
    if (ids.size === 0) this.#absent.delete(absent)
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#memory.takeHeap(bytes)
  }

  /** Whether any row of a table is not in. */
  get hasAbsent(): boolean {
    return this.#absent.size > 0
  }

  /** Whether a row of a table is not in the row of this key, by any of its calls. */
  isAbsent(route: number, inputKey: unknown, keyHash: number): boolean {
    for (const id of this.#absent.get(inputOf(route, inputKey)) ?? [])
      if (this.#letters.get(id)!.keyHash === keyHash) return true
    return false
  }

  /**
   * A row of a table leaves: true where it had not come in by this call, so that there is nothing to take out. Only letters of the
   * same key count, also where a table's row came twice, by different keys: another shard may have the others.
   */
  leave(route: number, inputKey: unknown, call: number, keyHash: number): boolean {
    if (this.#absent.size === 0) return false
    // The newest of its letters, whatever the order in which they came: a restart puts them in another one.
    let newest: DeadLetter | undefined
    for (const id of this.#absent.get(inputOf(route, inputKey)) ?? []) {
      const letter = this.#letters.get(id)!
      if (letter.call !== call || letter.keyHash !== keyHash) continue
      if (newest === undefined || letter.position > newest.position) newest = letter
    }
    if (newest === undefined) return false
    this.#remove(idOf(newest))
    return true
  }

  /** The letters of a position. */
  at(position: number): readonly DeadLetter[] {
    return [...this.#letters.values()].filter(letter => letter.position === position)
  }

  /** It was called again, with success. */
  resolved(letter: DeadLetter): void {
    this.#remove(idOf(letter))
  }

  /** It was called again, in vain. */
  failedAgain(letter: DeadLetter, error: ErrorReport): void {
    this.#put(idOf(letter), { ...letter, error, redriven: letter.redriven + 1 })
  }

  /** Begins a checkpoint: gives the letters that changed since the last one, undefined where they went; or all. */
  begin(all: boolean): {
    /** Undefined where it is as it was. */
    readonly total: number | undefined
    readonly changed: readonly {
      readonly id: string
      readonly letter: DeadLetter | undefined
      readonly last: DeadLetter
    }[]
  } {
    const wanted = all ? this.#letters : this.#changed
    const withTotal = all || wanted.size > 0 || this.#totalReplaced
    this.#totalReplaced = false
    const changed = [...wanted].map(([id, last]) => ({ id, letter: this.#letters.get(id), last }))
    this.#changed.clear()
    return { total: withTotal ? this.total : undefined, changed }
  }

  /** Puts others in the place of all there are. @param total calls that were skipped, ever @throws STATE_TOO_LARGE */
  replace(letters: readonly DeadLetter[], total: number): void {
    for (const id of [...this.#letters.keys()]) this.#remove(id)
    for (const letter of letters) this.#put(idOf(letter), letter)
    this.total = total
    this.#totalReplaced = true
  }

  /** How many letters only one of two folds has, or has in another way. */
  differences(others: readonly DeadLetter[]): number {
    const left = new Map(others.map(letter => [idOf(letter), shownOf(letter)]))
    let differences = 0
    for (const [id, letter] of this.#letters) {
      if (!isDeepStrictEqual(left.get(id), shownOf(letter))) differences++
      left.delete(id)
    }
    return differences + left.size
  }

  /** Puts a letter of a checkpoint. @throws STATE_TOO_LARGE */
  restore(letter: DeadLetter): void {
    this.#put(idOf(letter), letter)
    this.#changed.clear()
  }

  /** Lets all go. */
  drop(): void {
    this.#letters.clear()
    this.#absent.clear()
    this.#changed.clear()
    this.#memory.takeHeap(-this.#bytes)
    this.#bytes = this.total = 0
  }
}

/** The record that a letter is about, and the key of the input's row. */
export const recordOf = ({ record }: DeadLetter): { readonly record: AnyRow; readonly inputKey: unknown } =>
  deserialize(record) as { record: AnyRow; inputKey: unknown }

/** Equal for equal keys, however their numbers are kept. */
const inputOf = (route: number, inputKey: unknown): string =>
  JSON.stringify([route, ...(isComposite(inputKey) ? Object.values(inputKey) : [inputKey]).map(scalarText)])

const isComposite = (key: unknown): key is object =>
  typeof key === 'object' && key !== null && !(key instanceof Date) && !(key instanceof Uint8Array)

function scalarText(value: unknown): string {
  if (value instanceof Date) return `date ${value.getTime()}`
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`
  return `${typeof value} ${String(value)}`
}
