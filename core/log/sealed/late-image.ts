// One image of a sealed group as accessors get it: a column is read when a record's field is first asked for, for the run of
// records at hand. What no handler, key or aggregate asks for costs nothing.
import { type LateColumns, type RowSource, RUN_ROWS_MAX, type ViewField, type ViewSlot } from '../../contract/index.ts'
import type { ColumnData } from './columns.ts'
import { type ColumnPlan, rawDecoder } from './plan.ts'

/** What a column becomes in a run: `tags` are the columns that say whether there is a value, outermost first. */
interface Target {
  readonly slot: Exclude<ViewSlot, { kind: 'group' }>
  readonly tags: readonly number[]
  readonly decode: ((bytes: Buffer) => unknown) | undefined
}

type Targets = readonly Target[]

const known = new WeakMap<ColumnPlan, Targets>()

/** What each column of a layout becomes, in the order of its columns. */
export function targetsOf(plan: ColumnPlan, fields: readonly ViewField[]): Targets {
  const targets = known.get(plan) ?? makeTargets(plan, fields)
  known.set(plan, targets)
  return targets
}

function makeTargets({ columns }: ColumnPlan, fields: readonly ViewField[]): Targets {
  return slotsOf(fields.map(field => field.slot)).map((slot, n) => {
    const planned = columns[n]!
    const decode = slot.kind === 'value' ? decoderOf(slot, planned) : undefined
    return { slot, tags: planned.tags, decode }
  })
}

function decoderOf(
  { type }: Extract<ViewSlot, { kind: 'value' }>,
  planned: ColumnPlan['columns'][number],
): (bytes: Buffer) => unknown {
  if (type.kind === 'json') return bytes => JSON.parse(bytes.toString('utf8'))
  return rawDecoder(planned)!
}

function slotsOf(slots: readonly ViewSlot[]): Target['slot'][] {
  return slots.flatMap(slot => {
    if (slot.kind === 'group') return slotsOf(slot.fields.map(field => field.slot))
    return slot.kind === 'nullable' ? [slot, ...slotsOf([slot.inner])] : [slot]
  })
}

export class LateImage implements LateColumns {
  readonly #columns: readonly ColumnData[]
  readonly #targets: Targets
  readonly #damaged: (error: unknown) => Error

  /** @param damaged makes the error of a column that cannot be read */
  constructor(columns: readonly ColumnData[], targets: Targets, damaged: (error: unknown) => Error) {
    this.#columns = columns
    this.#targets = targets
    this.#damaged = damaged
  }

  /** Adds rows from an index on to a run; false where they do not follow those that it has. */
  lend(source: RowSource, at: number, index: number): boolean {
    if (at === 0) source.lendLate(this, this.#columns, index)
    else if (source.late !== this || source.from + at !== index) return false
    return true
  }

  load(source: RowSource, column: number): void {
    try {
      this.#load(source, column)
    } catch (error) {
      throw this.#damaged(error)
    }
  }

  #load(source: RowSource, column: number): void {
    const { words, refs, from, count } = source
    const { slot, tags, decode } = this.#targets[column]!
    const data = this.#columns[column]!
    switch (slot.kind) {
      case 'word':
        data.fill(words, slot.word * RUN_ROWS_MAX, from, count)
        break
      case 'nullable':
        data.fill(words, slot.word * RUN_ROWS_MAX, from, count)
        tellAbsent(words, slot.word * RUN_ROWS_MAX, count, slot.optional ? Number.POSITIVE_INFINITY : Number.NaN)
        break
      case 'text': {
        // What is damaged is to be found here: texts are then asked for one by one, by whoever holds a row.
        data.open()
        const at = slot.word * RUN_ROWS_MAX
        for (let n = 0; n < count; n++) {
          words[at + n] = column
          words[at + RUN_ROWS_MAX + n] = from + n
        }
        const ref = slot.ref * RUN_ROWS_MAX
        for (let n = 0; n < count; n++) refs[ref + n] = undefined
        break
      }
      case 'bigint':
        data.fillBigints(words, slot.word * RUN_ROWS_MAX, refs, slot.ref * RUN_ROWS_MAX, from, count)
        break
      case 'value': {
        const at = slot.ref * RUN_ROWS_MAX
        for (let n = 0; n < count; n++)
          refs[at + n] = this.#isThere(tags, from + n) ? decode!(data.bytes(from + n)) : undefined
      }
    }
  }

  #isThere(tags: readonly number[], index: number): boolean {
    for (const tag of tags) if (this.#columns[tag]!.numbers()[index] !== 1) return false
    return true
  }
}

/** Stored tags are 0 for null, 1 for a value, 2 for absent. */
function tellAbsent(words: Float64Array, at: number, count: number, absent: number): void {
  for (let n = at; n < at + count; n++) {
    const tag = words[n]
    if (tag !== 1) words[n] = tag === 2 ? absent : Number.NaN
  }
}
