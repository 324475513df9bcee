// What one cleaning is to do, and how it looks at records: which topic, up to where, by which key.
import { ByteReader } from '../../contract/index.ts'
import { type BlockEntry, endOf, KeyBuffer, type PlacedBlock, planOf } from '../sealed/block-writer.ts'
import type { Layout, Topics } from '../topics.ts'

/** Horizons of topics, by their numbers. */
export interface CleaningPlan {
  /** Everything happens at positions up to here: the end of a closed segment. */
  readonly to: number
  readonly trim: ReadonlyMap<number, number>
  readonly compact: ReadonlyMap<number, number>
}

/** A stored layout, as a cleaning sees it. */
export interface PlannedLayout {
  readonly layout: Layout
  readonly topic: number
  /** Records up to here are gone. */
  readonly trimmedTo: number
  /** Up to here only the newest of each key stay. */
  readonly compactedTo: number
  /** Reads a row's key into `key`. */
  readonly keyOf: (reader: ByteReader) => void
}

export class PlannedLayouts {
  readonly key = new KeyBuffer()
  readonly #topics: Topics
  readonly #plan: CleaningPlan
  readonly #known = new Map<number, PlannedLayout>()

  constructor(topics: Topics, plan: CleaningPlan) {
    this.#topics = topics
    this.#plan = plan
  }

  /** @throws RangeError where topics.json does not have it */
  get(id: number): PlannedLayout {
    let known = this.#known.get(id)
    if (!known) {
      const layout = this.#topics.layout(id)
      if (!layout) throw new RangeError(`layout ${id} of a record is not in topics.json`)
      const topic = layout.topic.id
      const { trim, compact } = this.#plan
      known = {
        layout,
        topic,
        trimmedTo: trim.get(topic) ?? 0,
        compactedTo: compact.get(topic) ?? 0,
        keyOf: planOf(layout).keyer(this.key),
      }
      this.#known.set(id, known)
    }
    return known
  }

  /** Whether anything of a sealed block may go or change. */
  touches({ first, groups }: BlockEntry): boolean {
    return groups.some(group => {
      const { trimmedTo, compactedTo } = this.get(group.layout)
      return first <= Math.max(trimmedTo, compactedTo)
    })
  }
}

/** Steps over the records of a block; `reader` then stands at the record's content, which ends at `end`. */
export class RecordWalk {
  readonly reader: ByteReader
  readonly #block: PlacedBlock
  /** Number in the block. */
  n = -1
  /** Where the whole record begins: its length. */
  start = 0
  end = 0
  layout = 0
  op = 0

  constructor(block: PlacedBlock) {
    this.#block = block
    this.reader = new ByteReader(block.payload)
  }

  /** @throws RangeError */
  next(): boolean {
    if (this.n + 1 >= this.#block.count) return false
    const { reader } = this
    this.n++
    this.start = this.end
    reader.at = this.end
    const bytes = reader.varint()
    this.end = reader.at + bytes
    if (this.end > reader.buffer.length) throw new RangeError('a record is longer than its block')
    this.layout = reader.varint()
    this.op = reader.u8()
    return true
  }

  get position(): number {
    const { positions, first } = this.#block
    return positions ? positions[this.n]! : first + this.n
  }
}

export { endOf }
