// A `z.map` of a state: live, so that `state.seen.set(id, at)` is one write and not a copy of the map. Entries are checked
// and frozen as they come; a map that is kept beyond its handler's call can be read, but not written.
import type { ValueType } from '../../core/index.ts'
import { bytesOf, settleEntry } from './nested.ts'

/** What a map knows of its field: is it the map of the row whose handler runs; and who counts its bytes. */
export interface MapOwner {
  readonly type: Extract<ValueType, { kind: 'map' }>
  readonly path: string
  /** @throws CURSOR_EXPIRED */
  checkOpen(map: StateMap): void
  grow(bytes: number): void
}

const ENTRY_BYTES = 48

export class StateMap extends Map<unknown, unknown> {
  readonly #owner: MapOwner
  #bytes = 0

  constructor(owner: MapOwner, entries?: ReadonlyMap<unknown, unknown>) {
    super()
    this.#owner = owner
    if (entries) for (const [key, value] of entries) this.#put(key, value)
  }

  /** About how many bytes its entries take. */
  get bytes(): number {
    return this.#bytes
  }

  override set(key: unknown, value: unknown): this {
    this.#owner.checkOpen(this)
    const before = this.#bytes
    this.#put(key, value)
    this.#owner.grow(this.#bytes - before)
    return this
  }

  override delete(key: unknown): boolean {
    this.#owner.checkOpen(this)
    const value = super.get(key)
    if (!super.delete(key)) return false
    const bytes = entryBytes(key, value)
    this.#bytes -= bytes
    this.#owner.grow(-bytes)
    return true
  }

  override clear(): void {
    this.#owner.checkOpen(this)
    super.clear()
    this.#owner.grow(-this.#bytes)
    this.#bytes = 0
  }

  #put(givenKey: unknown, givenValue: unknown): void {
    const { type, path } = this.#owner
    const [key, value] = settleEntry(type, givenKey, givenValue, path)
    if (super.has(key)) this.#bytes -= entryBytes(key, super.get(key))
    super.set(key, value)
    this.#bytes += entryBytes(key, value)
  }
}

const entryBytes = (key: unknown, value: unknown): number => ENTRY_BYTES + bytesOf(key) + bytesOf(value)
