// A `z.map` of a state: live, so that `state.seen.set(id, at)` is one write and not a copy of the map. Entries are checked
// and frozen as they come; a map that is kept beyond its handler's call can be read, but not written.
import type { ValueType } from '../../core/index.ts'
import type { MapUndo } from './map-undo.ts'
import { bytesOf, settleEntry } from './nested.ts'

/** What a map knows of its field: is it the map of the row whose handler runs; and who counts its bytes. */
export interface MapOwner {
  readonly type: Extract<ValueType, { kind: 'map' }>
  readonly path: string
  /** @throws CURSOR_EXPIRED */
  checkOpen(map: StateMap): void
  grow(bytes: number): void
  /** Told of changes, where a call may be undone. */
  readonly undo: MapUndo | undefined
}

const ENTRY_BYTES = 48

export class StateMap extends Map<unknown, unknown> {
  readonly #owner: MapOwner
  #bytes = 0

  constructor(owner: MapOwner, entries?: ReadonlyMap<unknown, unknown>) {
    super()
    this.#owner = owner
    if (entries) for (const [key, value] of entries) this.#put(...settleEntry(owner.type, key, value, owner.path))
  }

  /** About how many bytes its entries take. */
  get bytes(): number {
    return this.#bytes
  }

  override set(key: unknown, value: unknown): this {
    const owner = this.#owner
    owner.checkOpen(this)
    const before = this.#bytes
    const [settledKey, settledValue] = settleEntry(owner.type, key, value, owner.path)
    owner.undo?.beforeSet(this, settledKey)
    this.#put(settledKey, settledValue)
    owner.grow(this.#bytes - before)
    return this
  }

  override delete(key: unknown): boolean {
    this.#owner.checkOpen(this)
    if (!super.has(key)) return false
    this.#owner.undo?.beforeDelete(this)
    const value = super.get(key)
    super.delete(key)
    const bytes = entryBytes(key, value)
    this.#bytes -= bytes
    this.#owner.grow(-bytes)
    return true
  }

  override clear(): void {
    this.#owner.checkOpen(this)
    this.#owner.undo?.beforeDelete(this)
    super.clear()
    this.#owner.grow(-this.#bytes)
    this.#bytes = 0
  }

  /** Puts an entry back as it was. Whoever undoes a call says what its row takes. */
  restore(key: unknown, had: boolean, value: unknown): void {
    if (had) this.#put(key, value)
    else if (super.has(key)) {
      this.#bytes -= entryBytes(key, super.get(key))
      super.delete(key)
    }
  }

  /** Puts all entries back. */
  restoreAll(entries: ReadonlyMap<unknown, unknown>): void {
    super.clear()
    this.#bytes = 0
    for (const [key, value] of entries) this.#put(key, value)
  }

  #put(key: unknown, value: unknown): void {
    if (super.has(key)) this.#bytes -= entryBytes(key, super.get(key))
    super.set(key, value)
    this.#bytes += entryBytes(key, value)
  }
}

const entryBytes = (key: unknown, value: unknown): number => ENTRY_BYTES + bytesOf(key) + bytesOf(value)
