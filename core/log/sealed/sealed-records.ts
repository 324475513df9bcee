// The walk over records of a sealed block: what readers get of each, from its group's columns.
import { type AnyRow, type RowView, RUN_ROWS_MAX } from '../../contract/index.ts'
import { fail } from '../../errors.ts'
import type { LogTopic, ParkedRow, RecordCursor, RecordOp } from '../log.ts'
import { OP_DELETE, OP_EVENT, OP_INSERT, OP_PARKED, OP_UPDATE, OPS } from '../records.ts'
import type { GroupData, SealedBlock } from './sealed-block.ts'

export class SealedRecords implements RecordCursor {
  readonly #block: SealedBlock
  readonly #end: number
  readonly #first: number
  #positions: Float64Array | undefined
  #record: number
  #of: Uint8Array | Uint16Array | undefined
  #local: Uint32Array | undefined
  #group: GroupData | undefined
  #index = 0

  constructor(block: SealedBlock, index: number, count: number) {
    this.#block = block
    this.#first = block.entry.first
    this.#record = index - 1
    this.#end = this.#record + count
  }

  next(): boolean {
    if (this.#record >= this.#end) return false
    if (!this.#local) this.#open()
    const record = ++this.#record
    this.#group = this.#block.groups[this.#of![record]!]
    this.#index = this.#local![record]!
    return true
  }

  #open(): void {
    try {
      this.#of = this.#block.groupOf
      this.#local = this.#block.localOf
      this.#positions = this.#block.positions
    } catch (error) {
      throw this.#block.damaged(error)
    }
  }

  get position(): number {
    return this.#positions ? this.#positions[this.#record]! : this.#first + this.#record
  }

  get topic(): LogTopic {
    if (!this.#group) throw fail('INTERNAL', 'a record was read before next()')
    return this.#group.layout.topic
  }

  get op(): RecordOp {
    return OPS[this.#group?.op ?? 0] ?? 'event'
  }

  before(): AnyRow | null {
    const op = this.#group?.op
    return op === OP_DELETE ? this.#row(0) : op === OP_UPDATE ? this.#row(1) : null
  }

  after(): AnyRow | null {
    const op = this.#group?.op
    return op === OP_DELETE || op === OP_PARKED ? null : this.#row(0)
  }

  lendBefore(): AnyRow | null {
    const op = this.#group?.op
    return op === OP_DELETE ? this.#lend('before', 0) : op === OP_UPDATE ? this.#lend('before', 1) : null
  }

  lendAfter(): AnyRow | null {
    const op = this.#group?.op
    return op === OP_DELETE || op === OP_PARKED ? null : this.#lend('after', 0)
  }

  recall(): void {
    this.#group?.layout.lender?.recall()
  }

  get lender(): RowView | undefined {
    const { op, layout } = this.#group!
    return op === OP_EVENT || op === OP_INSERT ? layout.lender?.after : undefined
  }

  lendRun(): number {
    const group = this.#group!
    const { code, after } = group.layout.lender!
    const { source } = after
    const from = this.#index
    const first = this.#record
    const last = Math.min(this.#end, first + RUN_ROWS_MAX - 1 - source.count)
    const of = this.#of!
    let record = first
    while (record < last && of[record + 1] === of[first]) record++
    const count = record - first + 1
    const { damagedBy } = this.#block
    if (!group.images[0]!.lend(source, code, source.count, from, damagedBy)) return 0
    const { positions } = source
    const all = this.#positions
    const at = source.count
    for (let n = 0; n < count; n++) positions[at + n] = all ? all[first + n]! : this.#first + first + n
    source.count += count
    this.#record = record
    this.#index = from + count - 1
    return count
  }

  #lend(role: 'before' | 'after', image: number): AnyRow {
    const { layout, images } = this.#group!
    const { lender } = layout
    if (!lender) return this.#row(image)
    const { row, source } = lender[role]
    source.at = 0
    source.count = 1
    images[image]!.lend(source, lender.code, 0, this.#index, this.#block.damagedBy)
    return row
  }

  parked(): ParkedRow | null {
    const parked = this.#group?.parked
    if (!parked) return null
    try {
      return JSON.parse(parked.text(this.#index)) as ParkedRow
    } catch (error) {
      throw this.#block.damaged(error)
    }
  }

  #row(image: number): AnyRow {
    try {
      const { layout, images } = this.#group!
      return layout.adapt(images[image]!.row(this.#index), this.position)
    } catch (error) {
      throw this.#block.damaged(error)
    }
  }
}
