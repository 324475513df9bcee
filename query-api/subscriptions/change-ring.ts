// The recent changes of a view, in order, each with a number of its own: what a client that was away for a moment, or is slower than
// the others, has missed. Bounded in bytes; the oldest go first. Whoever is behind them cannot go on and has to read rows anew.
import type { RowChange } from '../../projections/index.ts'

/** What a change takes beside its rows, about: itself, its events, its entry among the keys. */
const CHANGE_BYTES = 600

export class RingChange implements RowChange {
  readonly position: number
  readonly key: string
  readonly before: Uint8Array | undefined
  readonly after: Uint8Array | undefined
  readonly number: number
  /** Number of the change of the same key before it, as far as it is kept. */
  readonly earlier: number
  /** As it is sent, made when the first one needs it. */
  row: Buffer | undefined
  gone: Buffer | undefined

  constructor({ position, key, before, after }: RowChange, number: number, earlier: number) {
    this.position = position
    this.key = key
    this.before = before
    this.after = after
    this.number = number
    this.earlier = earlier
  }

  get bytes(): number {
    const { key, before, after } = this
    // Its event has the row as JSON.
    return CHANGE_BYTES + key.length + (before?.length ?? 0) + 4 * (after?.length ?? 0)
  }
}

export class ChangeRing {
  readonly #bytesMax: number
  /** From `#head` on those that are kept. */
  #changes: (RingChange | undefined)[] = []
  #head = 0
  /** Number of the oldest one that is kept, or of the next one. */
  #first = 1
  #bytes = 0
  /** Position of the last change that is not kept any more. */
  #gonePosition = 0
  /** By key, the number of its newest change. */
  readonly #newestOf = new Map<string, number>()

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Number of the newest change; the one before the first where there is none. */
  get newest(): number {
    return this.#first + this.#changes.length - this.#head - 1
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Whether all that came after a change is kept. */
  holdsAfter(number: number): boolean {
    return number >= this.#first - 1 && number <= this.newest
  }

  /** Number of the last change up to a position; one that nobody can go on from, where later ones are not kept. */
  numberAt(position: number): number {
    let number = this.newest
    while (number >= this.#first && this.at(number)!.position > position) number--
    return number >= this.#first || this.#gonePosition <= position ? number : this.#first - 2
  }

  at(number: number): RingChange | undefined {
    return number < this.#first ? undefined : this.#changes[this.#head + number - this.#first]
  }

  /** Number of a key's newest change; 0 where none is kept. */
  newestOf(key: string): number {
    return this.#newestOf.get(key) ?? 0
  }

  push(change: RowChange): RingChange {
    const kept = new RingChange(change, this.newest + 1, this.newestOf(change.key))
    this.#changes.push(kept)
    this.#newestOf.set(change.key, kept.number)
    this.#bytes += kept.bytes
    // The newest stays, however large.
    while (this.#bytes > this.#bytesMax && this.#head < this.#changes.length - 1) this.#dropOldest()
    return kept
  }

  #dropOldest(): void {
    const oldest = this.#changes[this.#head]!
    this.#changes[this.#head++] = undefined
    this.#first++
    this.#bytes -= oldest.bytes
    this.#gonePosition = oldest.position
    if (this.#newestOf.get(oldest.key) === oldest.number) this.#newestOf.delete(oldest.key)
    if (this.#head < 1_024 || this.#head * 2 < this.#changes.length) return
    this.#changes.splice(0, this.#head)
    this.#head = 0
  }

  /** Some changes up to a position are missing: nobody can go on from before. */
  lose(position: number): void {
    this.#gonePosition = position
    this.#first = this.newest + 2
    this.#changes = []
    this.#head = 0
    this.#bytes = 0
    this.#newestOf.clear()
  }
}
