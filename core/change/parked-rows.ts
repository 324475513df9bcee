// What is parked of one topic: in the mirror's store, found by an id, with what is not committed yet.
import type { LogTopic } from '../log/index.ts'
import type { FrozenTables, TableStore } from '../state/index.ts'
import type { ParkedEntry } from './source.ts'

export class ParkedRows {
  readonly name: string
  readonly topic: LogTopic
  /** How many are parked. */
  parkedCount = 0
  protected readonly store: TableStore
  readonly #idOf: (entry: ParkedEntry) => string
  /** What is not committed yet, by the commit that will make it so; the last one is still open. */
  #recent: Map<string, ParkedEntry | undefined>[] = [new Map()]

  /** @param idOf what an entry is found by. Default: its key, of which there is one */
  constructor(store: TableStore, topic: LogTopic, idOf: (entry: ParkedEntry) => string = entry => entry.key) {
    this.name = topic.name
    this.topic = topic
    this.store = store
    this.#idOf = idOf
  }

  findParked(id: string): ParkedEntry | undefined {
    if (this.parkedCount === 0) return undefined
    const stored = this.store.get(this.#table, parkedKey(id))
    return stored ? read(stored) : undefined
  }

  park(entry: ParkedEntry): void {
    const id = this.#idOf(entry)
    if (!this.findParked(id)) this.parkedCount++
    this.store.put(this.#table, parkedKey(id), Buffer.from(JSON.stringify(entry)))
    this.#open.set(id, entry)
  }

  unpark(id: string): boolean {
    if (!this.findParked(id)) return false
    this.parkedCount--
    this.store.remove(this.#table, parkedKey(id))
    this.#open.set(id, undefined)
    return true
  }

  /** Parked entries, those not yet committed included. */
  *parked(): Iterable<ParkedEntry> {
    const recent = new Map(this.#recent.flatMap(each => [...each]))
    for (const [, value] of this.store.entries(this.#table)) {
      const id = this.#idOf(read(value))
      const entry = recent.has(id) ? undefined : this.findParked(id)
      if (entry) yield entry
    }
    for (const key of this.store.writtenKeys(this.#table)) {
      const value = this.store.isCommitted(this.#table, key) ? undefined : this.store.get(this.#table, key)
      const entry = value && read(value)
      if (entry && !recent.has(this.#idOf(entry))) yield entry
    }
    for (const entry of recent.values()) if (entry) yield entry
  }

  /** Those that were committed when the store was frozen. */
  *frozen(tables: FrozenTables): Iterable<ParkedEntry> {
    for (const [, value] of tables.entries(this.#table)) yield read(value)
  }

  /** Counts those that are committed. */
  countParked(): number {
    return this.store.count(this.#table)
  }

  /** What is not committed was moved to disk: see `TableStore.writtenKeys`. */
  spilled(): void {
    this.#open.clear()
  }

  /** A commit begins; call what it gives when it is done. */
  beginCommit(): () => void {
    const committing = this.#open
    this.#recent.push(new Map())
    return () => {
      this.#recent = this.#recent.filter(each => each !== committing)
    }
  }

  get #open(): Map<string, ParkedEntry | undefined> {
    return this.#recent[this.#recent.length - 1]!
  }

  get #table(): string {
    return `parked.${this.name}`
  }
}

const read = (stored: Uint8Array): ParkedEntry => JSON.parse(Buffer.from(stored).toString()) as ParkedEntry

/** LMDB keys are short; a longer text is cut, and what follows tells texts with one beginning apart. */
function parkedKey(text: string): Buffer {
  const bytes = Buffer.from(text === '' ? ' ' : text)
  if (bytes.length <= 1_000) return bytes
  let hash = 0
  for (const byte of bytes) hash = (Math.imul(hash, 31) + byte) | 0
  return Buffer.concat([bytes.subarray(0, 1_000), Buffer.from(`#${bytes.length}#${hash}`)])
}
