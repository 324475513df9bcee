// The rows of a run's keys: found from the words and bytes that the records hold, without a value being made of any key, where a
// key is a column of its own kind or made of several. Which way a key was found makes no difference: all go by the same bytes.
import {
  type AnyRow,
  ByteWriter,
  type KeyCodec,
  type RowSource,
  type RowView,
  RUN_ROWS_MAX,
  type TextColumn,
  type ViewSlot,
} from '../core/index.ts'
import type { InputKey, Route } from './route.ts'
import { KeyPlaces, KeySource } from './state/key-heap.ts'
import { NO_ROW, type RunRows } from './state/row-places.ts'
import type { StateTable } from './state/state-table.ts'

/** A column of a run: where its words begin, and those that say whether there is a value, −1 where each record has one. */
interface Column {
  readonly kind: string
  /** What has to be loaded of the run. */
  readonly columns: readonly number[]
  readonly from: number
  readonly there: number
}

const EMPTY = Buffer.alloc(0)

type Resolve = (inputKey: InputKey, run: RunRows) => void

export class RunKeys {
  readonly #row: AnyRow
  readonly #source: RowSource
  readonly #table: StateTable
  readonly #keysOf: Route['keysOf']
  readonly #places = new KeyPlaces()
  readonly #bytes = new KeySource(EMPTY)
  /** Finds the rows of the records; `run.count` says of how many, also where it throws. @throws KEY_INVALID, STATE_TOO_LARGE */
  readonly resolve: Resolve
  /** The last dictionary, and what has been found for each of its entries, plus one, or NO_ROW; good while no row was removed. */
  #dictionary: Uint8Array = EMPTY
  #known = new Uint32Array(0)
  #removed = -1

  constructor(route: Route, lent: RowView, table: StateTable) {
    this.#row = lent.row
    this.#source = lent.source
    this.#table = table
    this.#keysOf = route.keysOf
    this.resolve = this.#wayOf(route, lent)
  }

  #wayOf({ on: { by } }: Route, lent: RowView): Resolve {
    const { own } = this.#table.keys
    const each: Resolve = (inputKey, run) => this.#each(inputKey, run)
    if (typeof by === 'function') return each
    if (typeof by !== 'string') {
      const parts = partsOf(by, lent, this.#table.codec)
      return parts ? (_, run) => this.#composite(parts, run) : each
    }
    const column = columnOf(lent, by)
    if (column === undefined || own === undefined || !KINDS[own]?.includes(column.kind)) return each
    if (own === 'string') return (_, run) => this.#texts(column, run)
    return (inputKey, run) => this.#numbers(column, inputKey, run)
  }

  #each(inputKey: InputKey, run: RunRows): void {
    const source = this.#source
    const table = this.#table
    for (run.count = 0; run.count < source.count; run.count++) {
      source.at = run.count
      const key = this.#keysOf(this.#row, inputKey)
      if (key !== null && key !== undefined) run.add(run.count, table.findOrAdd(table.keys.idOf(key)))
    }
  }

  #need({ columns }: Pick<Column, 'columns'>): void {
    for (let n = 0; n < columns.length; n++) this.#source.need(columns[n]!)
  }

  #numbers(column: Column, inputKey: InputKey, run: RunRows): void {
    const { kind, from, there } = column
    this.#need(column)
    const { words, count } = this.#source
    if (kind === 'bigint' && words.subarray(from, from + count).includes(Number.NEGATIVE_INFINITY)) {
      this.#each(inputKey, run)
      return
    }
    if (there < 0) {
      this.#table.findOrAddNumbers(words, from, count, run)
      return
    }
    const { starts } = this.#places
    for (let n = 0; n < count; n++) starts[n] = words[there + n] === 1 ? words[from + n]! : Number.NaN
    this.#table.findOrAddNumbers(starts, 0, count, run)
  }

  /** Keys as they stand in a block's bytes, or in a sealed block's column: only those not seen before may be made strings. */
  #texts(column: Column, run: RunRows): void {
    const { from, there } = column
    this.#need(column)
    const { words, count, buffer, columns } = this.#source
    const { starts, ends } = this.#places
    if (buffer === undefined) {
      // Which column it is stands with each value.
      let first = 0
      while (there >= 0 && first < count && words[there + first] !== 1) first++
      if (first < count) this.#ofColumn(columns[words[from + first]!]!, from + RUN_ROWS_MAX, there, run)
      else run.count = count
      return
    }
    for (let n = 0; n < count; n++) {
      const start = words[from + n]!
      starts[n] = there < 0 || words[there + n] === 1 ? start : -1
      ends[n] = start + words[from + RUN_ROWS_MAX + n]!
    }
    this.#bytes.set(buffer)
    this.#table.findOrAddBytes(this.#bytes, this.#places, count, run)
  }

  #ofColumn(column: TextColumn, at: number, there: number, run: RunRows): void {
    const { words, count } = this.#source
    const { heap, offsets, entries } = column
    if (entries !== undefined) {
      this.#ofDictionary(column, entries, at, there, run)
      return
    }
    const { starts, ends } = this.#places
    for (let n = 0; n < count; n++) {
      const index = words[at + n]!
      const none = there >= 0 && words[there + n] !== 1
      starts[n] = none ? -1 : offsets[index]!
      ends[n] = none ? -1 : offsets[index + 1]!
    }
    this.#bytes.set(heap as Buffer)
    this.#table.findOrAddBytes(this.#bytes, this.#places, count, run)
  }

  /** A key that stands in a dictionary is looked for once for each block. */
  #ofDictionary({ heap, offsets }: TextColumn, entries: Uint32Array, at: number, there: number, run: RunRows): void {
    const table = this.#table
    const { words, count } = this.#source
    if (this.#dictionary !== heap || this.#removed !== table.removed) {
      this.#dictionary = heap
      this.#removed = table.removed
      if (this.#known.length < offsets.length) this.#known = new Uint32Array(offsets.length)
      else this.#known.fill(0, 0, offsets.length)
    }
    const known = this.#known
    this.#bytes.set(heap as Buffer)
    for (run.count = 0; run.count < count; run.count++) {
      const n = run.count
      if (there >= 0 && words[there + n] !== 1) continue
      const entry = entries[words[at + n]!]!
      let place = known[entry]!
      if (place === 0) {
        const row = table.findOrAddOne(this.#bytes, offsets[entry]!, offsets[entry + 1]!)
        known[entry] = place = row === NO_ROW ? NO_ROW : row + 1
      }
      run.add(n, place === NO_ROW ? NO_ROW : place - 1)
    }
  }

  #composite(parts: readonly Part[], run: RunRows): void {
    const { count } = this.#source
    const { starts, ends } = this.#places
    const writer = this.#writer
    writer.at = 0
    let written = 0
    let refusal: unknown
    for (const part of parts) this.#need(part)
    try {
      for (; written < count; written++) {
        starts[written] = writer.at
        if (!this.#write(parts, written, writer)) starts[written] = -1
        ends[written] = writer.at
      }
    } catch (error) {
      refusal = error
    }
    this.#bytes.set(writer.buffer)
    this.#table.findOrAddBytes(this.#bytes, this.#places, written, run)
    if (written < count) throw refusal
  }

  readonly #writer = new ByteWriter()

  /** Writes the key of a record; false where it has none. */
  #write(parts: readonly Part[], record: number, writer: ByteWriter): boolean {
    const source = this.#source
    const { words, buffer, columns } = source
    const { codec } = this.#table
    const start = writer.at
    source.at = record
    for (let n = 0; n < parts.length; n++) {
      const { name, text, there } = parts[n]!
      if (there >= 0 && words[there + record] !== 1) return false
      if (text >= 0) {
        const before = writer.at
        const [place, of] = [words[text + record]!, words[text + RUN_ROWS_MAX + record]!]
        if (buffer !== undefined) {
          if (codec.encodeAscii(writer, buffer, place, place + of)) continue
        } else {
          const { heap, offsets, entries } = columns[place]!
          const entry = entries === undefined ? of : entries[of]!
          if (codec.encodeAscii(writer, heap, offsets[entry]!, offsets[entry + 1]!)) continue
        }
        writer.at = before
      }
      const value = this.#row[name]
      if (value === null || value === undefined) return false
      codec.encodeColumn(writer, n, value)
    }
    codec.checkLength(writer.at - start)
    return true
  }
}

/** Of which kinds a column has the ids of keys as they are. */
const KINDS = {
  integer: ['int', 'int32'],
  date: ['date'],
  bigint: ['bigint'],
  string: ['text'],
} as const satisfies Record<string, readonly string[]> as Readonly<Record<string, readonly string[]>>

/** A column of a composite key. */
interface Part {
  readonly name: string
  readonly columns: readonly number[]
  /** Where the places of its texts begin, if it is one. */
  readonly text: number
  readonly there: number
}

function partsOf(by: Readonly<Record<string, string>>, lent: RowView, codec: KeyCodec): readonly Part[] | undefined {
  const parts = codec.columns.map(({ name, type }) => {
    const column = by[name]
    if (column === undefined || !lent.fields.some(field => field.name === column)) return undefined
    const { kind, from, there, columns } = columnOf(lent, column) ?? { kind: '', from: -1, there: -1, columns: [] }
    return { name: column, columns, text: kind === 'text' && type.kind === 'string' ? from : -1, there }
  })
  return parts.every(part => part !== undefined) ? parts : undefined
}

function columnOf({ fields }: RowView, name: string): Column | undefined {
  const slot = fields.find(field => field.name === name)?.slot
  if (slot === undefined) return undefined
  if (slot.kind !== 'nullable') return wordsOf(slot, -1, [])
  return wordsOf(slot.inner, slot.word * RUN_ROWS_MAX, [slot.column])
}

function wordsOf(slot: ViewSlot, there: number, before: readonly number[]): Column | undefined {
  switch (slot.kind) {
    case 'word':
    case 'bigint':
    case 'text': {
      const kind = slot.kind === 'word' ? slot.type.kind : slot.kind
      return { kind, columns: [...before, slot.column], from: slot.word * RUN_ROWS_MAX, there }
    }
    default:
      return undefined
  }
}
