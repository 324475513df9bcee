// Events of a captured topic that their contract refused. An event is a fact: none of its key may pass it, so those that come after a
// parked one are parked behind it, whatever they are, until it is mended. They are found by their position in the log.
import type { AnyRow, Contract } from '../contract/index.ts'
import { isMainstemError } from '../errors.ts'
import type { Batch, LogTopic, ParkedRow } from '../log/index.ts'
import type { TableStore } from '../state/index.ts'
import { ParkedRows } from './parked-rows.ts'
import { keptRaw, refusedBy } from './raw.ts'
import type { ParkedEntry } from './source.ts'

/** What an event is parked with where it is not its own fault. */
const BEHIND = 'an earlier event of its key is parked'

/** One event as a source brings it. */
export interface EventInput {
  /** In the form of the schema's input; or what is wrong with it already. */
  readonly value: unknown
  readonly error?: string | undefined
  readonly raw: Readonly<Record<string, string | null>>
}

/** An event parked in a batch, to be placed when its position is known. */
export interface ParkedEvent {
  readonly events: ParkedEvents
  readonly row: ParkedRow
  readonly index: number
}

export class ParkedEvents extends ParkedRows {
  readonly contract: Contract
  /** Key → how many of its events are parked, those in batches on their way included. */
  readonly #blocked = new Map<string, number>()

  constructor(store: TableStore, topic: LogTopic) {
    super(store, topic, entry => String(entry.logPosition))
    this.contract = topic.contract
    this.parkedCount = this.countParked()
    for (const { key } of this.parked()) this.#block(key)
  }

  /** Adds an event to a batch, as itself or parked. @returns the parked one: `place` it */
  record(batch: Batch, { value, error, raw }: EventInput): ParkedEvent | undefined {
    const key = this.keyOf(value)
    const wrong = error ?? (this.#blocked.has(key) ? BEHIND : this.append(batch, value))
    if (wrong === undefined) return undefined
    const row: ParkedRow = { op: 'insert', key, raw: keptRaw(raw), error: wrong }
    batch.parked(this.topic, row)
    this.#block(key)
    return { events: this, row, index: batch.count - 1 }
  }

  /** Undefined where the batch has it now; or why its contract refuses it. */
  append(batch: Batch, value: unknown): string | undefined {
    try {
      batch.event(this.topic, this.contract.parse(value))
      return undefined
    } catch (caught) {
      if (isMainstemError(caught) && /^(RECORD|KEY)_/.test(caught.code)) return refusedBy(caught)
      throw caught
    }
  }

  /** The text of an event's key; '' where it has none that can be read: then it stands in nobody's way. */
  keyOf(value: unknown): string {
    try {
      const { key } = this.contract
      const parsed = key.fromRow(value as AnyRow)
      key.encode(parsed)
      return key.format(parsed)
    } catch {
      return ''
    }
  }

  /** The batch of a parked event is durable. */
  place({ key, op, raw, error }: ParkedRow, position: string, logPosition: number): void {
    this.park({ topic: this.name, key, op, position, logPosition, error, raw })
  }

  /** Takes a record of the log over: as `place`, or a parked one that is mended. */
  apply(row: ParkedRow, position: string, logPosition: number): void {
    if (row.op === 'delete') this.mended(row.redriveOf ?? 0, row.key)
    else {
      this.place(row, position, logPosition)
      this.#block(row.key)
    }
  }

  mended(logPosition: number, key: string): void {
    if (!this.unpark(String(logPosition))) return
    const left = (this.#blocked.get(key) ?? 1) - 1
    if (left > 0) this.#blocked.set(key, left)
    else this.#blocked.delete(key)
  }

  /** Where parked events stand in the log, in order, of one key or of all. */
  inOrder(key: string | undefined): readonly number[] {
    const positions: number[] = []
    for (const entry of this.parked()) if (key === undefined || entry.key === key) positions.push(entry.logPosition)
    return positions.sort((a, b) => a - b)
  }

  parkedAt(logPosition: number): ParkedEntry | undefined {
    return this.findParked(String(logPosition))
  }

  #block(key: string): void {
    if (key !== '') this.#blocked.set(key, (this.#blocked.get(key) ?? 0) + 1)
  }
}
