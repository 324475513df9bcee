// Which records stay: of a compacted topic the newest of each key, unless it is a delete. Keys are held exactly, in a table of
// bounded size: where it does not hold them all, the keys are divided by their hash and the log is read once for each part. A
// record is known by its number among those of the segments; one bit says whether it stays.
import { setImmediate as immediate } from 'node:timers/promises'
import { asMainstemError, isMainstemError } from '../../errors.ts'
import { corrupt, OP_DELETE, OP_EVENT, OP_INSERT, OP_PARKED, OP_UPDATE } from '../records.ts'
import type { AnySegment } from '../recovery.ts'
import type { PlacedBlock } from '../sealed/block-writer.ts'
import { SEAL_RECORDS_PER_TURN } from '../sealed/bounds.ts'
import { KeyTable, StreamName } from '../sealed/key-table.ts'
import { type PlannedLayout, type PlannedLayouts, RecordWalk } from './plan.ts'
import { recordsIn, type SourceParts, sourceBlocks } from './source-blocks.ts'

/** Parts into which keys are divided, at most: 4,096 times the table's bound is more keys than a log has. */
const PARTS_MAX = 4_096

export interface SurvivorsOptions {
  readonly source: SourceParts
  readonly layouts: PlannedLayouts
  /** In order. */
  readonly segments: readonly AnySegment[]
  /** For the table of keys. */
  readonly memoryBytes: number
  /** Asked at each pause. @throws to end it */
  readonly pause: () => Promise<void>
}

export class Survivors {
  /** Number of each segment's first record; one more at the end. */
  readonly firsts: readonly number[]
  readonly #bits: Uint8Array
  readonly #changed: boolean[]
  readonly #gone: number[]

  constructor(firsts: readonly number[]) {
    this.firsts = firsts
    this.#bits = new Uint8Array(Math.ceil(firsts.at(-1)! / 8))
    this.#changed = firsts.map(() => false)
    this.#gone = firsts.map(() => 0)
  }

  keep(record: number): void {
    this.#bits[Math.floor(record / 8)]! |= 1 << (record % 8)
  }

  has(record: number): boolean {
    return (this.#bits[Math.floor(record / 8)]! & (1 << (record % 8))) !== 0
  }

  /** True where something of a segment goes or is rewritten. */
  changed(segment: number): boolean {
    return this.#changed[segment]!
  }

  change(segment: number): void {
    this.#changed[segment] = true
  }

  /** How many records of a segment go. */
  gone(segment: number): number {
    return this.#gone[segment]!
  }

  /** So many more records of a segment go. */
  remove(segment: number, count: number): void {
    this.#gone[segment]! += count
    if (count > 0) this.change(segment)
  }
}

/** @throws LOG_CORRUPT */
export async function findSurvivors(options: SurvivorsOptions): Promise<Survivors> {
  const firsts = [0]
  for (const segment of options.segments) firsts.push(firsts.at(-1)! + (await recordsIn(segment)))
  for (let parts = 1; ; parts *= 2) {
    const survivors = new Survivors(firsts)
    const affected = options.segments.map(() => 0)
    let part = 0
    while (part < parts && (await new Pass(options, survivors, affected, part, parts).run())) part++
    if (part < parts) continue
    for (const [n, count] of affected.entries()) survivors.remove(n, count - (await kept(survivors, n)))
    return survivors
  }
}

async function kept(survivors: Survivors, segment: number): Promise<number> {
  let count = 0
  for (let n = survivors.firsts[segment]!; n < survivors.firsts[segment + 1]!; n++) {
    if (survivors.has(n)) count++
    if (n % 262_144 === 0) await immediate()
  }
  return count
}

/** One reading of the log, for one part of the keys. */
class Pass {
  readonly #options: SurvivorsOptions
  readonly #survivors: Survivors
  /** Of each segment: records of which only the newest stay. */
  readonly #affected: number[]
  readonly #part: number
  readonly #parts: number
  readonly #keys = new KeyTable()
  readonly #name = new StreamName()
  /** Of each key: the number of its newest record, −1 where it is gone. */
  #newest = new Float64Array(1024)
  /** Topics with parked rows: their names are kept beside the keys, under an odd number. */
  readonly #parked = new Set<number>()
  #old = Buffer.alloc(256)

  constructor(options: SurvivorsOptions, survivors: Survivors, affected: number[], part: number, parts: number) {
    this.#options = options
    this.#survivors = survivors
    this.#affected = affected
    this.#part = part
    this.#parts = parts
  }

  get #bytes(): number {
    return this.#keys.bytes + this.#keys.size * 8
  }

  /** False where the table is too small. */
  async run(): Promise<boolean> {
    const { source, layouts, segments, memoryBytes, pause } = this.#options
    let sinceTurn = 0
    for (const [n, segment] of segments.entries()) {
      let record = this.#survivors.firsts[n]!
      for await (const block of sourceBlocks(source, segment, entry => layouts.touches(entry))) {
        if (typeof block === 'number') {
          record += block
          continue
        }
        await this.#block(block, n, record, segment.path)
        record += block.count
        if (this.#bytes > memoryBytes && this.#parts < PARTS_MAX) return false
        sinceTurn += block.count + 1
        if (sinceTurn < SEAL_RECORDS_PER_TURN) continue
        sinceTurn = 0
        await pause()
      }
    }
    for (let key = 0; key < this.#keys.size; key++) {
      const newest = this.#newest[key]!
      if (newest >= 0) this.#survivors.keep(newest)
      if (key % 65_536 === 65_535) await immediate()
    }
    return true
  }

  async #block(block: PlacedBlock, segment: number, first: number, path: string): Promise<void> {
    try {
      const walk = new RecordWalk(block)
      while (walk.next()) {
        const planned = this.#options.layouts.get(walk.layout)
        if (walk.position <= planned.trimmedTo && this.#part === 0) this.#survivors.remove(segment, 1)
        if (walk.position > planned.compactedTo) continue
        if (this.#part === 0) this.#affected[segment]!++
        // Not an insert any more, or gone.
        if (walk.op === OP_UPDATE || walk.op === OP_DELETE) this.#survivors.change(segment)
        this.#record(walk, planned, first + walk.n)
        if (walk.n % SEAL_RECORDS_PER_TURN === SEAL_RECORDS_PER_TURN - 1) await this.#options.pause()
      }
    } catch (error) {
      if (isMainstemError(error)) throw error
      throw corrupt(path, block.offset, `${asMainstemError(error).detail}`, error)
    }
  }

  #record(walk: RecordWalk, planned: PlannedLayout, record: number): void {
    const { reader, op } = walk
    if (op === OP_PARKED) {
      this.#park(planned, reader.buffer.toString('utf8', reader.at, walk.end), record)
      return
    }
    const parked = this.#parked.has(planned.topic)
    if (op === OP_UPDATE) {
      const bytes = reader.varint()
      const { at } = reader
      if (parked) this.#unpark(planned, reader)
      reader.at = at
      const { key } = this.#options.layouts
      planned.keyOf(reader)
      const length = key.length
      if (length > this.#old.length) this.#old = Buffer.alloc(length * 2)
      key.bytes.copy(this.#old, 0, 0, length)
      reader.at = at + bytes
      planned.keyOf(reader)
      if (key.length !== length || key.bytes.compare(this.#old, 0, length, 0, length) !== 0)
        this.#set(planned.topic * 2, this.#old, length, -1)
      this.#set(planned.topic * 2, key.bytes, key.length, record)
      reader.at = at + bytes
    } else {
      const { at } = reader
      planned.keyOf(reader)
      const { key } = this.#options.layouts
      this.#set(planned.topic * 2, key.bytes, key.length, op === OP_INSERT || op === OP_EVENT ? record : -1)
      reader.at = at
    }
    if (parked) this.#unpark(planned, reader)
  }

  #park(planned: PlannedLayout, json: string, record: number): void {
    const { key, op } = JSON.parse(json) as { key: string; op: string }
    this.#parked.add(planned.topic)
    this.#setParked(planned, key, op === 'delete' ? -1 : record)
  }

  /** An accepted record of a row says that it is no longer parked (`Mirror`). */
  #unpark({ layout, topic }: PlannedLayout, reader: PlacedReader): void {
    const { key } = layout.topic.contract
    this.#setParked({ topic }, key.format(key.fromRow(layout.codec.decode(reader))), -1)
  }

  #setParked({ topic }: Pick<PlannedLayout, 'topic'>, text: string, record: number): void {
    const bytes = Buffer.from(text)
    this.#set(topic * 2 + 1, bytes, bytes.length, record)
  }

  /** @param record −1: the key is gone */
  #set(topic: number, key: Uint8Array, length: number, record: number): void {
    const name = this.#name.of(topic).add(key, 0, length)
    if (this.#parts > 1 && Math.floor((name.hash / 0x1_0000_0000) * this.#parts) !== this.#part) return
    const known =
      record < 0
        ? this.#keys.find(name.hash, name.bytes, 0, name.length)
        : this.#keys.add(name.hash, name.bytes, 0, name.length)
    if (known < 0) return
    if (known >= this.#newest.length) {
      const larger = new Float64Array(this.#newest.length * 2)
      larger.set(this.#newest)
      this.#newest = larger
    }
    this.#newest[known] = record
  }
}

type PlacedReader = Parameters<PlannedLayout['keyOf']>[0]
