// How much memory the states of an engine may take: one budget for all of its views. A view that would go beyond it stops
// with a typed error, long before the operating system would kill the process; what it held is free again for the others.
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import { fail } from '../../core/index.ts'

/** Of the machine's memory, or of what its container gives. */
const SHARE_OF_MEMORY = 0.6
/** Of V8's heap, which holds strings, nested values and maps; the rest is for everything else. */
const SHARE_OF_HEAP = 0.6

const defaultBytesMax = (): number => {
  const limit = process.constrainedMemory()
  return SHARE_OF_MEMORY * (limit > 0 ? Math.min(limit, totalmem()) : totalmem())
}

export class StateMemory {
  /** Bytes that all states together may take. */
  readonly bytesMax: number
  /** Bytes of them that may be in V8's heap. */
  readonly heapBytesMax: number
  #bytes = 0
  #heapBytes = 0

  constructor(
    bytesMax: number = defaultBytesMax(),
    heapBytesMax: number = SHARE_OF_HEAP * getHeapStatistics().heap_size_limit,
  ) {
    this.bytesMax = bytesMax
    this.heapBytesMax = Math.min(bytesMax, heapBytesMax)
  }

  /** A memory of its own, as large as half of what is left in this one: what takes from it takes nothing from here. */
  half(): StateMemory {
    return new StateMemory((this.bytesMax - this.bytes) / 2, (this.heapBytesMax - this.#heapBytes) / 2)
  }

  /** Bytes taken, in pages and indexes and in the heap. */
  get bytes(): number {
    return this.#bytes + this.#heapBytes
  }

  /** @throws STATE_TOO_LARGE; nothing is taken then */
  take(bytes: number): void {
    if (this.bytes + bytes > this.bytesMax) throw tooLarge(this.bytes + bytes, this.bytesMax, '')
    this.#bytes += bytes
  }

  /** @throws STATE_TOO_LARGE; nothing is taken then */
  takeHeap(bytes: number): void {
    if (bytes > 0 && this.#heapBytes + bytes > this.heapBytesMax)
      throw tooLarge(this.#heapBytes + bytes, this.heapBytesMax, ' of strings and nested values')
    if (bytes > 0 && this.bytes + bytes > this.bytesMax) throw tooLarge(this.bytes + bytes, this.bytesMax, '')
    this.#heapBytes += bytes
  }

  release(bytes: number, heapBytes: number): void {
    this.#bytes -= bytes
    this.#heapBytes -= heapBytes
  }
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

const tooLarge = (bytes: number, most: number, what: string) =>
  fail('STATE_TOO_LARGE', 'the state of the views is too large', {
    detail: `it would take ${megabytes(bytes)}${what}, the limit is ${megabytes(most)}`,
    data: { bytes: Math.round(bytes), bytesMax: Math.round(most) },
  })
