// What the stream has touched since before a chunk was read. A chunk shows the table as it stood at some place of its own; when the
// stream has passed that place, all that both know of is equal, but for keys that a transaction touched which the chunk has
// not seen: there the stream is newer. Those keys are left out of the chunk, so they are noted here while it is read.
import type { MirrorTable } from '../../core/index.ts'

/** Keys that are noted at most. With more of them the chunk is given up, and read again when there is less going on. */
const KEYS_MAX = 100_000

export type HasSeen = (transaction: string) => boolean

export class Window {
  readonly #table: MirrorTable
  /** Key → the last transaction that touched it. */
  readonly #touched = new Map<string, string>()
  #transaction = ''
  #hasSeen: HasSeen | undefined
  #emptiedBy: string | undefined
  #overflowed = false

  /** @param transaction the one that is being taken now, if any */
  constructor(table: MirrorTable, transaction: string) {
    this.#table = table
    this.#transaction = transaction
  }

  begin(transaction: string): void {
    this.#transaction = transaction
  }

  /** @param text names the key where its bytes cannot be had */
  touch(table: MirrorTable, key: Buffer | undefined, text: string): void {
    if (table !== this.#table || this.#hasSeen?.(this.#transaction)) return
    if (this.#touched.size >= KEYS_MAX) this.#overflowed = true
    else this.#touched.set(nameOf(key, text), this.#transaction)
  }

  emptied(table: MirrorTable): void {
    if (table === this.#table && !this.#hasSeen?.(this.#transaction)) this.#emptiedBy = this.#transaction
  }

  /** The chunk's place is known now: only what it has not seen is kept. Who touches a key last is seen last. */
  place(hasSeen: HasSeen): void {
    this.#hasSeen = hasSeen
    for (const [key, transaction] of this.#touched) if (hasSeen(transaction)) this.#touched.delete(key)
    if (this.#emptiedBy !== undefined && hasSeen(this.#emptiedBy)) this.#emptiedBy = undefined
  }

  /** Whether the chunk says nothing that can be used. */
  get isVoid(): boolean {
    return this.#overflowed || this.#emptiedBy !== undefined
  }

  /** Whether the stream is newer than the chunk there. */
  has(key: Buffer | undefined, text: string): boolean {
    return this.#touched.size > 0 && this.#touched.has(nameOf(key, text))
  }
}

const nameOf = (key: Buffer | undefined, text: string): string => (key ? `=${key.toString('latin1')}` : `~${text}`)
