// Sealed blocks that the readers of several threads go over at about the same pace: whoever comes to a block first reads, checks and
// unpacks it into memory that all of them have, and the others find it there. It is a cache: a reader that finds no memory free, or
// waits too long for another, reads the block by itself.
//
// A block stays until all readers have come to one behind it, which each of them says by a position that only grows. So what a
// reader has found cannot be exchanged before it goes on, whatever the others do.
import type { SealedSegment } from './sealed-segment.ts'

/** Blocks that are held at a time: as many as readers are apart, of which the coordinator of shards allows about as many. */
const SLOTS = 8
/** Of a block, as it is stored and unpacked: what is larger is not shared. Takes real memory only as far as it is used. */
const SLOT_BYTES = 4 * 1024 * 1024
/** A block is made in a few milliseconds, unless its thread is busy or has ended. */
const WAIT_MS_MAX = 20

/** A slot's state: of these in its lowest bits, and how often it has changed above them. */
const EMPTY = 0
const MAKING = 1
const READY = 2
const STATE_MASK = 3
const CHANGE = 4

/** Of a slot's block: first position of its segment, the segment's generation, the block's offset, and its last position. */
const KEY_NUMBERS = 4
const LAST = 3

/** What threads are given: plain data. */
export interface SharedBlockMemory {
  readonly readers: number
  /** Of each reader, the position up to which it needs nothing any more. */
  readonly passed: SharedArrayBuffer
  readonly keys: SharedArrayBuffer
  readonly states: SharedArrayBuffer
  readonly blocks: SharedArrayBuffer
}

/** @param readers how many there are: each is one of them by its number */
export function sharedBlockMemory(readers: number): SharedBlockMemory {
  return {
    readers,
    passed: new SharedArrayBuffer(readers * 8),
    keys: new SharedArrayBuffer(SLOTS * KEY_NUMBERS * 8),
    states: new SharedArrayBuffer(SLOTS * 4),
    blocks: new SharedArrayBuffer(SLOTS * SLOT_BYTES),
  }
}

export interface BlockKey {
  readonly segment: Pick<SealedSegment, 'first' | 'generation'>
  readonly offset: number
  readonly first: number
  readonly last: number
}

/** Memory for a block that nobody else makes. */
export interface Claim {
  readonly memory: Buffer
  /** Gives it to all. */
  ready(): void
  /** Gives it up. */
  drop(): void
}

/** One reader's side. */
export class SharedBlocks {
  readonly readers: number
  readonly reader: number
  readonly #passed: BigInt64Array
  readonly #keys: BigInt64Array
  readonly #states: Int32Array
  readonly #memory: readonly Buffer[]

  constructor({ readers, passed, keys, states, blocks }: SharedBlockMemory, reader: number) {
    this.readers = readers
    this.reader = reader
    this.#passed = new BigInt64Array(passed)
    this.#keys = new BigInt64Array(keys)
    this.#states = new Int32Array(states)
    this.#memory = Array.from({ length: SLOTS }, (_, slot) => Buffer.from(blocks, slot * SLOT_BYTES, SLOT_BYTES))
  }

  /** This reader needs no block any more that ends before a position. */
  passed(position: number): void {
    Atomics.store(this.#passed, this.reader, BigInt(position))
  }

  /** True where a block is there, or somebody makes it. */
  has(key: BlockKey): boolean {
    return this.#find(key) !== undefined
  }

  /** The memory of a block that this reader has not passed, once somebody has made it; undefined where nobody has. */
  async find(key: BlockKey): Promise<Buffer | undefined> {
    for (;;) {
      const found = this.#find(key)
      if (found === undefined) return undefined
      const [slot, state] = found
      if ((state & STATE_MASK) === READY) return this.#memory[slot]
      const { async, value } = Atomics.waitAsync(this.#states, slot, state, WAIT_MS_MAX)
      if ((async ? await value : value) === 'timed-out') return undefined
    }
  }

  #find(key: BlockKey): readonly [slot: number, state: number] | undefined {
    for (let slot = 0; slot < SLOTS; slot++) {
      const state = Atomics.load(this.#states, slot)
      if ((state & STATE_MASK) === EMPTY || !this.#isOf(slot, key)) continue
      // It may have been of another block when its state was looked at.
      if (Atomics.load(this.#states, slot) === state) return [slot, state]
    }
    return undefined
  }

  #isOf(slot: number, key: BlockKey): boolean {
    return numbersOf(key).every((number, n) => Atomics.load(this.#keys, slot * KEY_NUMBERS + n) === number)
  }

  /** Undefined where all memory is in use, or the block needs more. @param bytes as it is stored */
  claim(key: BlockKey, bytes: number): Claim | undefined {
    if (bytes > SLOT_BYTES) return undefined
    for (let slot = 0; slot < SLOTS; slot++) {
      const state = Atomics.load(this.#states, slot)
      if (!this.#isFree(slot, state)) continue
      const making = ((state & ~STATE_MASK) + CHANGE + MAKING) | 0
      if (Atomics.compareExchange(this.#states, slot, state, making) !== state) continue
      for (const [n, number] of numbersOf(key).entries()) Atomics.store(this.#keys, slot * KEY_NUMBERS + n, number)
      const end = (as: number) => {
        Atomics.store(this.#states, slot, making - MAKING + as)
        Atomics.notify(this.#states, slot)
      }
      return { memory: this.#memory[slot]!, ready: () => end(READY), drop: () => end(EMPTY) }
    }
    return undefined
  }

  #isFree(slot: number, state: number): boolean {
    if ((state & STATE_MASK) !== READY) return (state & STATE_MASK) === EMPTY
    const last = Atomics.load(this.#keys, slot * KEY_NUMBERS + LAST)
    for (let reader = 0; reader < this.readers; reader++) if (Atomics.load(this.#passed, reader) <= last) return false
    return true
  }
}

/** A block without records ends before it begins, and is needed until a reader is beyond where it stands. */
const numbersOf = ({ segment, offset, first, last }: BlockKey): readonly bigint[] =>
  [segment.first, segment.generation, offset, Math.max(first, last)].map(BigInt)
