// From what a source says happened to a row, to change records with whole rows: looks the row up in the mirror, chains
// several changes of one row, parks what the contract refuses. Source-agnostic: a source brings keys and rows as they are stored,
// and bytes they stay: the row before is copied from the mirror into the log.
//
// A parked record with op `delete` says that a parked row is no longer parked without becoming a row of the view (it was
// deleted, or it went back to the last accepted row): so the list of parked rows, too, is a function of the log.
import { type AnyRow, type ByteWriter, KEY_BYTES_MAX, Span } from '../contract/index.ts'
import { isMainstemError } from '../errors.ts'
import type { Batch, ParkedRow } from '../log/index.ts'
import { applyParked, type Mirror } from './mirror.ts'
import type { MirrorTable } from './mirror-table.ts'
import { cutText, keptRaw } from './raw.ts'
import type { ParkedEntry } from './source.ts'

/** A row image whose contract refused it. */
export interface RefusedRow {
  /** The key's bytes where the key itself is fine. */
  readonly key: Buffer | undefined
  readonly keyText: string
  readonly raw: Readonly<Record<string, string | null>>
  readonly error: string
}

export interface PlacedParked {
  readonly table: MirrorTable
  readonly row: ParkedRow
  /** Its place in the batch. */
  readonly index: number
}

/** Writes where parked rows stand, in the source and in the log, into the mirror's list of them. */
export function placeParked(parked: readonly PlacedParked[], position: string, firstPosition: number): void {
  for (const { table, row, index } of parked) {
    const entry = table.findParked(row.key)
    if (entry && entry.logPosition === 0) table.park({ ...entry, position, logPosition: firstPosition + index })
  }
}

export class Recorder {
  readonly #mirror: Mirror
  #batch: Batch
  #parked: PlacedParked[] = []
  /** Rows of which there is a copy. */
  readonly #kept = new Span()

  /** @param batch where records go until the next `use` */
  constructor(mirror: Mirror, batch: Batch) {
    this.#mirror = mirror
    this.#batch = batch
  }

  /** Begins a unit: the batch to fill. */
  use(batch: Batch): void {
    this.#batch = batch
  }

  /** The rows parked in this unit, to be given their log positions by `placeParked` once those are known. */
  takeParked(): readonly PlacedParked[] {
    const parked = this.#parked
    if (parked.length > 0) this.#parked = []
    return parked
  }

  get epoch(): number {
    return this.#mirror.control.epoch
  }

  /** Begins the value of a row that `upsert` is to be told of: its stored form is to be appended. */
  begin(table: MirrorTable): ByteWriter {
    return table.begin(this.epoch)
  }

  /** The value of a row, for `upsert`. @throws RECORD_REFUSED */
  encode(table: MirrorTable, row: AnyRow): ByteWriter {
    return table.encode(row, this.epoch)
  }

  /**
   * The row with this key is now the one of `value`; `oldKey` is given where the change moved it from another key.
   * `refused` gives the raw texts in case the log cannot take the row after all.
   */
  upsert(
    table: MirrorTable,
    key: Buffer,
    value: ByteWriter,
    oldKey: Buffer | undefined,
    refused: () => RefusedRow,
  ): void {
    try {
      const moved = oldKey === undefined ? undefined : table.find(oldKey)
      if (oldKey && moved) this.#move(table, oldKey, moved, key, table.written(value))
      else this.#become(table, key, table.written(value))
      if (table.parkedCount > 0) this.#forget(table, key, oldKey)
      table.put(key, value)
    } catch (error) {
      if (!isMainstemError(error) || !/^RECORD_/.test(error.code)) throw error
      const why = error.detail ?? error.message
      this.park(table, 'update', { ...refused(), error: why }, oldKey)
    }
  }

  #become(table: MirrorTable, key: Buffer, after: Span): void {
    const before = table.look(key)
    if (!before?.equals(after)) this.#batch.change(table.topic, before, after)
    else if (table.parkedCount > 0) this.#unpark(table, table.contract.key.decode(key), 'accepted again')
  }

  #move(table: MirrorTable, oldKey: Buffer, moved: Buffer, key: Buffer, after: Span): void {
    // What still stands at the new key can only be there because its own departure was refused; it goes first.
    this.deleteKey(table, key)
    this.#batch.change(table.topic, this.#rowOf(table, moved), after)
    table.remove(oldKey)
  }

  #rowOf(table: MirrorTable, stored: Buffer): Span {
    const row = table.rowBytes(stored)
    return this.#kept.set(row, 0, row.length)
  }

  /** The accepted row's records say by themselves that it is no longer parked; an old key that never was a row must be said. */
  #forget(table: MirrorTable, newKey: Buffer, oldKey: Buffer | undefined): void {
    const { key } = table.contract
    table.unpark(key.format(key.decode(newKey)))
    if (oldKey) this.#unpark(table, key.decode(oldKey), 'its key changed')
  }

  /** The row is gone. `key` is undefined where the contract refuses the key itself. */
  delete(table: MirrorTable, key: Buffer | undefined, keyText: string): void {
    const stored = key && table.look(key)
    if (key && stored) {
      this.#batch.change(table.topic, stored, undefined)
      table.remove(key)
      if (table.parkedCount > 0) table.unpark(keyText)
    } else if (table.findParked(keyText)) {
      this.#parkedGone(table, keyText, 'deleted')
    }
  }

  /** Keeps a refused row in the log; the view keeps the last accepted one, unless the change moved it to another key. */
  park(table: MirrorTable, op: 'insert' | 'update', row: RefusedRow, oldKey: Buffer | undefined): void {
    const moved = oldKey && table.find(oldKey)
    if (oldKey && moved) {
      this.#batch.change(table.topic, this.#rowOf(table, moved), undefined)
      table.remove(oldKey)
    }
    if (oldKey) this.#unpark(table, table.contract.key.decode(oldKey), 'its key changed')
    applyParked(table, this.parkLater(table, op, row), '', 0)
  }

  /** Records a parked row, but leaves it to the caller to write it into the mirror. */
  parkLater(table: MirrorTable, op: 'insert' | 'update', row: RefusedRow): ParkedRow {
    const parked: ParkedRow = { op, key: cutText(row.keyText, KEY_BYTES_MAX), raw: keptRaw(row.raw), error: row.error }
    this.#batch.parked(table.topic, parked)
    this.#parked.push({ table, row: parked, index: this.#batch.count - 1 })
    return parked
  }

  /** A refused row of a diffed snapshot: recorded only if it was not parked as it is. */
  seenRefused(table: MirrorTable, row: RefusedRow): void {
    const stored = row.key && table.find(row.key)
    // It exists still: its last accepted row must not look unseen.
    if (row.key && stored && table.epochOf(stored) !== this.epoch) {
      stored.writeUInt32LE(this.epoch, 0)
      table.putStored(row.key, stored)
    }
    const known = table.findParked(row.keyText)
    if (known && JSON.stringify(known.raw) === JSON.stringify(keptRaw(row.raw))) return
    this.park(table, stored ? 'update' : 'insert', row, undefined)
  }

  /**
   * A parked row that the contract takes now becomes the row of its key. False where one is there under a key that the parked row did not
   * have: that one is newer, and stays. @throws RECORD_… where the log does not take it
   */
  redrive(table: MirrorTable, entry: ParkedEntry, row: AnyRow): boolean {
    const { key } = table.contract
    const bytes = key.encodeFromRow(row)
    const stored = table.find(bytes)
    const accepted = stored === undefined || key.format(key.fromRow(row)) === entry.key
    const value = this.encode(table, row)
    const error = accepted ? 'redriven' : 'superseded by an accepted row'
    this.#batch.parked(table.topic, { op: 'delete', key: entry.key, raw: {}, error, redriveOf: entry.logPosition })
    if (accepted) {
      const [before, after] = [stored && this.#rowOf(table, stored), table.written(value)]
      if (!before?.equals(after)) this.#batch.change(table.topic, before, after)
      table.put(bytes, value)
    }
    table.unpark(entry.key)
    return accepted
  }

  /** Deletes a row by its key where it is still there; for truncation and for rows that a snapshot no longer holds. */
  deleteKey(table: MirrorTable, key: Buffer): void {
    const stored = table.look(key)
    if (!stored) return
    this.#batch.change(table.topic, stored, undefined)
    table.remove(key)
  }

  parkedGone(table: MirrorTable, keyText: string, why: string): void {
    this.#parkedGone(table, keyText, why)
  }

  #unpark(table: MirrorTable, key: unknown, why: string): void {
    const keyText = table.contract.key.format(key)
    if (table.findParked(keyText)) this.#parkedGone(table, keyText, why)
  }

  #parkedGone(table: MirrorTable, keyText: string, why: string): void {
    this.#batch.parked(table.topic, { op: 'delete', key: keyText, raw: {}, error: why })
    table.unpark(keyText)
  }
}
