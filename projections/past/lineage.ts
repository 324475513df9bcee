// Lineage: which records went to a key, directly or through rows of other views, and what each did to its row. Told while the
// key is folded once more: each view says where its records and rows go, so that a change that is passed on keeps its causes.
import { fail, type LogBlock, type RecordCursor, VIEWS_TOPIC } from '../../core/index.ts'
import { isDeepEqual } from '../state/equality.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'
import type { EvaluationObserver } from './evaluation.ts'
import { STEPS_PER_KEY_MAX } from './histories.ts'
import type { LineageStep } from './past.ts'

/** Records of one transaction that may be causes, held until it ends. */
const CAUSES_MAX = 100_000

type Row = LineageStep['before']
interface Step extends LineageStep {
  before: Row
  after: Row
}

/** Which of the steps are wanted: the newest so many. */
export interface StepsWanted {
  /** Only steps before this position. */
  readonly before: number
  /** Only those that changed it. */
  readonly field: string | undefined
  readonly limit: number
}

export interface LineageTarget extends StepsWanted {
  readonly view: string
  readonly id: KeyId
}

/** The steps that are wanted, newest first, and whether there are older ones. */
export interface StepsFound {
  readonly steps: readonly LineageStep[]
  readonly more: boolean
}

const isWanted = ({ position, before, after }: LineageStep, wanted: StepsWanted): boolean =>
  position < wanted.before &&
  (wanted.field === undefined || !isDeepEqual(before?.[wanted.field], after?.[wanted.field]))

/** @param steps all of them, oldest first */
export function stepsOf(steps: readonly LineageStep[], wanted: StepsWanted): StepsFound {
  const found = steps.filter(step => isWanted(step, wanted))
  return { steps: found.slice(-wanted.limit).reverse(), more: found.length > wanted.limit }
}

export class LineageObserver implements EvaluationObserver {
  readonly #target: LineageTarget
  /** Models of the views, for their keys and inputs. */
  readonly #models: ReadonlyMap<string, FoldedView>
  #view!: FoldedView
  /** View → key → positions of the records of this transaction that went there. */
  readonly #causes = new Map<string, Map<KeyId, Set<number>>>()
  /** The records of this transaction that went anywhere. */
  readonly #records = new Map<number, LineageStep>()
  readonly #steps: LineageStep[] = []
  #more = false
  /** All steps; undefined when there are too many to be kept. */
  whole: LineageStep[] | undefined = []
  /** The row as the last record left it, and as the transaction began. */
  #last: Row = null
  #began: Row = null
  #transaction: Step[] = []
  #noted = false
  /** A record of this transaction that has calls that were skipped made again. */
  #redrive: LineageStep | undefined
  #position = 0

  constructor(target: LineageTarget, models: ReadonlyMap<string, FoldedView>) {
    this.#target = target
    this.#models = models
  }

  /** Name of the view whose row it is. */
  get view(): string {
    return this.#target.view
  }

  /** Also anew, where what it was told of before does not count. @param view the one that is folded, as it is before */
  begin(view: FoldedView): void {
    this.#view = view
    this.#causes.clear()
    this.#records.clear()
    this.#steps.length = this.#position = 0
    this.#more = this.#noted = false
    this.whole = []
    this.#transaction = []
    this.#redrive = undefined
    this.#last = this.#began = this.#row()
  }

  goes(view: string, key: unknown, on: number, inputKey: unknown, position: number): void {
    const model = this.#models.get(view)!
    const { input } = model.definition.ons[on]!
    const id = model.table.keys.idOf(key)
    if (input.kind !== 'projection') {
      this.#noted = true
      // A row may have gone by itself since the record before.
      if (view === this.#target.view && id === this.#target.id && this.#position !== position) this.#last = this.#row()
      this.#position = position
      this.#causesOf(view, id).add(position)
      return
    }
    const from = this.#models.get(input.name)!
    for (const cause of this.#causesOf(input.name, from.table.keys.idOf(inputKey))) this.#causesOf(view, id).add(cause)
  }

  #causesOf(view: string, id: KeyId): Set<number> {
    const byKey = this.#causes.get(view) ?? new Map<KeyId, Set<number>>()
    this.#causes.set(view, byKey)
    const causes = byKey.get(id) ?? new Set()
    byKey.set(id, causes)
    return causes
  }

  folded(cursor: RecordCursor, block: LogBlock): void {
    if (cursor.topic.name === VIEWS_TOPIC) this.#redrive = stepOf(cursor, block, this.#last)
    if (!this.#noted) return
    this.#noted = false
    const { position } = cursor
    const record = stepOf(cursor, block, this.#last)
    this.#records.set(position, record)
    if (this.#records.size > CAUSES_MAX) this.#giveUp(position)
    if (this.#position !== position || !this.#causes.get(this.#target.view)?.get(this.#target.id)?.has(position)) return
    const after = this.#row()
    this.#transaction.push({ ...record, after })
    this.#last = after
  }

  /** Whoever only wants the row goes on without. */
  #giveUp(position: number): void {
    if (this.#target.limit > 0)
      throw fail('AT_TOO_FAR', 'a transaction is too large for the lineage of a row that it reaches', {
        detail: `more than ${CAUSES_MAX} records up to position ${position}`,
      })
    this.#records.clear()
    this.whole = undefined
  }

  ended(): void {
    const causes = this.#causes.get(this.#target.view)?.get(this.#target.id)
    if (causes !== undefined) this.#endTransaction(causes)
    if (this.#redrive !== undefined) this.#endRedrive(this.#redrive)
    this.#redrive = undefined
    this.#causes.clear()
    this.#records.clear()
    this.#transaction = []
    this.#began = this.#last
  }

  /** What had been skipped was called again, for this key or for others. */
  #endRedrive(step: LineageStep): void {
    const after = this.#row()
    if (isDeepEqual(after, this.#last)) return
    this.#take({ ...step, before: this.#last, after })
    this.#last = after
  }

  #endTransaction(causes: ReadonlySet<number>): void {
    const direct = new Set(this.#transaction.map(step => step.position))
    for (const position of causes) {
      const record = direct.has(position) ? undefined : this.#records.get(position)
      if (record === undefined) continue
      // What it did comes at the transaction's end: until then the row is as records before it left it.
      const row = this.#transaction.findLast(step => step.position < position)?.after ?? this.#began
      this.#transaction.push({ ...record, before: row, after: row })
      this.#transaction.sort((a, b) => a.position - b.position)
    }
    const last = this.#transaction.at(-1)
    if (last !== undefined) last.after = this.#row()
    this.#last = this.#row()
    for (const step of this.#transaction) this.#take(step)
  }

  #take(step: Step): void {
    if (this.whole !== undefined && this.whole.push(step) > STEPS_PER_KEY_MAX) this.whole = undefined
    if (!isWanted(step, this.#target)) return
    this.#steps.push(step)
    if (this.#steps.length <= this.#target.limit) return
    this.#steps.shift()
    this.#more = true
  }

  #row(): Row {
    const { table } = this.#view
    const row = table.find(this.#target.id)
    return row >= 0 && table.support(row) > 0 ? table.toObject(row) : null
  }

  result(): StepsFound {
    return { steps: this.#steps.toReversed(), more: this.#more }
  }
}

const stepOf = (cursor: RecordCursor, { appendTimeMs, mark }: LogBlock, row: Row): LineageStep => ({
  position: cursor.position,
  topic: cursor.topic,
  op: cursor.op,
  record: { before: cursor.before(), after: cursor.after() },
  appendTimeMs,
  mark,
  // Looked up for those that are wanted.
  sequence: null,
  before: row,
  after: row,
})
