// Who reads which files. A cleaning puts new segments in the place of old ones at one instant; whoever was reading the old ones
// goes on with them to their end, so that what it sees is one consistent past, and their files are removed after that.
import type { AnySegment } from '../recovery.ts'

/** The segments as one reader sees them. */
export interface Lease {
  /** In order. Ask each time: newer ones come. */
  readonly segments: readonly AnySegment[]
  /** Of the base that it reads. */
  readonly generation: number
  /** Says that it is done with all before a segment that begins at a position. */
  passed(first: number): void
  release(): void
}

/** The segments before a cleaning, for those that were reading them. */
interface Former {
  readonly generation: number
  readonly to: number
  readonly segments: readonly AnySegment[]
}

export class Leases {
  readonly #live: AnySegment[]
  readonly #held = new Set<HeldLease>()
  readonly #gone = new Set<AnySegment>()
  readonly #remove: (segment: AnySegment) => void
  generation: number

  /** @param remove takes the file of a segment that nobody reads any more */
  constructor(live: AnySegment[], generation: number, remove: (segment: AnySegment) => void) {
    this.#live = live
    this.generation = generation
    this.#remove = remove
  }

  get live(): readonly AnySegment[] {
    return this.#live
  }

  /** @param from first position that it may still read; default: the first of all */
  acquire(from: () => number = () => 0): Lease {
    const lease = new HeldLease(this, from)
    this.#held.add(lease)
    return lease
  }

  drop(lease: HeldLease): void {
    this.#held.delete(lease)
    this.sweep()
  }

  /** Puts the segments of a new base in the place of all up to its end. Those that are not in it go when nobody reads them. */
  replace(generation: number, to: number, base: readonly AnySegment[]): void {
    for (const lease of this.#held) lease.keep(to)
    const count = this.#live.findIndex(segment => segment.first > to)
    const before = this.#live.splice(0, count, ...base)
    this.generation = generation
    for (const segment of before) if (!base.includes(segment)) this.#gone.add(segment)
    this.sweep()
  }

  /** Removes what nobody reads any more. */
  sweep(): void {
    for (const segment of this.#gone) {
      if ([...this.#held].some(lease => lease.former?.segments.includes(segment))) continue
      this.#gone.delete(segment)
      this.#remove(segment)
    }
  }
}

class HeldLease implements Lease {
  readonly #leases: Leases
  readonly #from: () => number
  former: Former | undefined

  constructor(leases: Leases, from: () => number) {
    this.#leases = leases
    this.#from = from
  }

  get segments(): readonly AnySegment[] {
    const { live } = this.#leases
    const { former } = this
    return former ? [...former.segments, ...live.filter(({ first }) => first > former.to)] : live
  }

  get generation(): number {
    return this.former?.generation ?? this.#leases.generation
  }

  /** What it sees up to a position, if it may still read it, stays. */
  keep(to: number): void {
    if (this.#from() > to) return
    this.former = { generation: this.generation, to, segments: this.segments.filter(({ first }) => first <= to) }
  }

  passed(first: number): void {
    if (!this.former || first <= this.former.to) return
    this.former = undefined
    this.#leases.sweep()
  }

  release(): void {
    this.former = undefined
    this.#leases.drop(this)
  }
}
