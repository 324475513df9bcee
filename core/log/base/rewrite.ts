// Writes the segments of a new base. A segment in which nothing changes is taken over; those that change are written anew,
// neighbours into one file up to the size of a segment. Files are written under temporary names and made durable; nothing of the
// log changes here. What is left of a batch stays one: its last block that is left says that it is the last.
import { join } from 'node:path'
import { ByteWriter } from '../../contract/index.ts'
import { asMainstemError, isMainstemError } from '../../errors.ts'
import type { File, FileSystem } from '../file-system.ts'
import { corrupt, OP_EVENT, OP_INSERT, OP_UPDATE } from '../records.ts'
import type { AnySegment } from '../recovery.ts'
import { endOf, type PlacedBlock } from '../sealed/block-writer.ts'
import { SEAL_RECORDS_PER_TURN } from '../sealed/bounds.ts'
import { SealedFileWriter } from '../sealed/file-writer.ts'
import { KeyReader } from '../sealed/key-reader.ts'
import { StreamName } from '../sealed/key-table.ts'
import { SealedSegment, sealedName } from '../sealed/sealed-segment.ts'
import type { Compression } from '../sealed/sections.ts'
import type { SegmentEnd } from '../sidecar.ts'
import type { Topics } from '../topics.ts'
import type { BaseFile } from './clean-job.ts'
import { type PlannedLayouts, RecordWalk } from './plan.ts'
import { figuresWithout } from './reach.ts'
import { sourceBlocks } from './source-blocks.ts'
import type { Survivors } from './survivors.ts'

/** Positions of one file are written as differences of 32 bits. */
const FILE_POSITIONS_MAX = 2 ** 31

export interface RewriteOptions {
  readonly fs: FileSystem
  readonly folder: string
  readonly identity: { readonly id: string; readonly epoch: number }
  readonly topics: Topics
  readonly compression: Compression
  readonly segmentBytesMax: number
  /** Of the new base. */
  readonly generation: number
  readonly segments: readonly AnySegment[]
  readonly layouts: PlannedLayouts
  readonly survivors: Survivors
  /** Asked at each pause. @throws to end it */
  readonly pause: () => Promise<void>
}

/** One that is being written. */
interface Output {
  readonly name: string
  readonly first: number
  readonly file: File
  readonly writer: SealedFileWriter
  last: number
  end: SegmentEnd
  /** Position at which its newest block ends. */
  at: number
}

export const temporaryOf = (folder: string, name: string): string => join(folder, `${name}.tmp`)

export class Rewrite {
  readonly #options: RewriteOptions
  readonly #keys = new KeyReader()
  readonly #name = new StreamName()
  readonly #out = new ByteWriter(1 << 16)
  readonly #files: BaseFile[] = []
  #output: Output | undefined
  /** What is left of a batch, until it is known whether more follows. */
  #pending: PlacedBlock | undefined

  constructor(options: RewriteOptions) {
    this.#options = options
  }

  /** About what it will write: as much of each file as is left of its records. */
  async bytes(): Promise<number> {
    const { segments, survivors } = this.#options
    const rewritten = this.#rewritten()
    const gone = segments.map((_, n) => survivors.gone(n))
    const { bytes } = await figuresWithout(
      segments.filter((_, n) => rewritten[n]),
      gone.filter((_, n) => rewritten[n]),
    )
    return bytes
  }

  /** Writes all of them. @throws what the file system says: some of them may be there then */
  async run(): Promise<readonly BaseFile[]> {
    try {
      return await this.#run()
    } finally {
      await this.#output?.file.close().catch(() => {})
    }
  }

  async #run(): Promise<readonly BaseFile[]> {
    const { segments, segmentBytesMax } = this.#options
    const rewritten = this.#rewritten()
    for (const [n, segment] of segments.entries()) {
      if (!rewritten[n]) {
        await this.#finish(false)
        this.#files.push({ name: segment.name, first: segment.first, last: segment.last, taken: true })
        continue
      }
      const output = this.#output ?? (await this.#begin(segment))
      this.#output = output
      await this.#segment(segment, n, output)
      const full = output.writer.bytes >= segmentBytesMax || segment.last - output.first >= FILE_POSITIONS_MAX
      if (full) await this.#finish(n === segments.length - 1)
    }
    await this.#finish(true)
    return this.#files
  }

  /** Those that change, and small ones beside them: so that many short files become few. */
  #rewritten(): boolean[] {
    const { segments, survivors, segmentBytesMax } = this.#options
    const rewritten = segments.map((segment, n) => !(segment instanceof SealedSegment) || survivors.changed(n))
    const small = (n: number) => (segments[n]?.bytes ?? 0) < segmentBytesMax / 4
    for (const n of segments.keys()) if (small(n) && (rewritten[n - 1] || survivors.changed(n + 1))) rewritten[n] = true
    return rewritten
  }

  async #begin(segment: AnySegment): Promise<Output> {
    const { fs, folder, identity, topics, compression, generation } = this.#options
    const { first } = segment
    const name = sealedName({ first, generation })
    const file = await fs.open(temporaryOf(folder, name), 'create')
    const payloadBytes = segment.bytes
    const writer = new SealedFileWriter(file, { identity, topics, first, generation, compression, payloadBytes })
    return { name, first, file, writer, last: first - 1, end: { appendTimeMs: 0, marks: new Map() }, at: first - 1 }
  }

  /** @param newest it ends where the base does */
  async #finish(newest: boolean): Promise<void> {
    const output = this.#output
    if (!output) return
    const { fs, folder } = this.#options
    const { writer, file, name, first, last, end } = output
    if (newest && output.at < last) {
      // So that a reader, and who folds what it reads, comes to stand at the base's end.
      const place = { offset: 0, bytes: 0, part: 0, durableBytes: 0, payload: Buffer.alloc(0) }
      await writer.add({
        ...place,
        first: last + 1,
        count: 0,
        last: true,
        mark: undefined,
        appendTimeMs: end.appendTimeMs,
      })
    }
    const empty = writer.empty
    if (!empty) {
      await writer.finish(last, end)
      await file.datasync()
      this.#files.push({ name, first, last, taken: false })
    }
    this.#output = undefined
    await file.close()
    if (empty) await fs.remove(temporaryOf(folder, name))
  }

  async #segment(segment: AnySegment, n: number, output: Output): Promise<void> {
    const { pause, topics, fs, survivors } = this.#options
    let record = survivors.firsts[n]!
    let sinceTurn = 0
    if (segment instanceof SealedSegment) await this.#formerlyRemoved(segment, output)
    for await (const block of sourceBlocks({ fs, topics }, segment)) {
      if (typeof block === 'number') continue
      await this.#block(block, record, segment.path, output)
      record += block.count
      await output.writer.relieve()
      sinceTurn += block.count + 1
      if (sinceTurn < SEAL_RECORDS_PER_TURN) continue
      sinceTurn = 0
      await pause()
    }
    output.last = segment.last
    output.end = await endOfSegment(segment)
  }

  async #formerlyRemoved(segment: SealedSegment, { writer }: Output): Promise<void> {
    let sinceTurn = 0
    for await (const { name, hash, events } of this.#keys.removed(segment)) {
      writer.removed(name, hash, events)
      if (++sinceTurn % 1_024 > 0) continue
      await writer.relieve()
      await this.#options.pause()
    }
  }

  async #block(block: PlacedBlock, record: number, path: string, output: Output): Promise<void> {
    if (block.count === 0) {
      // A heartbeat stays; the mark of where a former base ended does not.
      if (block.mark) await this.#put(block, output)
      return
    }
    const left = await this.#left(block, record, path, output)
    if (left) {
      if (this.#pending) await this.#put({ ...this.#pending, last: false }, output)
      this.#pending = left
    }
    if (!block.last || !this.#pending) return
    await this.#put({ ...this.#pending, last: true }, output)
    this.#pending = undefined
  }

  async #put(block: PlacedBlock, output: Output): Promise<void> {
    await output.writer.add(block)
    output.at = endOf(block)
  }

  /** What is left of a block; undefined: nothing. */
  async #left(block: PlacedBlock, firstRecord: number, path: string, output: Output): Promise<PlacedBlock | undefined> {
    try {
      return await this.#filter(block, firstRecord, output)
    } catch (error) {
      if (isMainstemError(error)) throw error
      throw corrupt(path, block.offset, `${asMainstemError(error).detail}`, error)
    }
  }

  async #filter(block: PlacedBlock, firstRecord: number, output: Output): Promise<PlacedBlock | undefined> {
    const { layouts, survivors } = this.#options
    const out = this.#out
    out.at = 0
    const positions: number[] = []
    const walk = new RecordWalk(block)
    while (walk.next()) {
      if (walk.n % SEAL_RECORDS_PER_TURN === SEAL_RECORDS_PER_TURN - 1) await this.#options.pause()
      const { topic, trimmedTo, compactedTo, keyOf } = layouts.get(walk.layout)
      const { position, op } = walk
      const compacted = position <= compactedTo
      if (position <= trimmedTo || (compacted && !survivors.has(firstRecord + walk.n))) {
        if (op === OP_EVENT) {
          keyOf(walk.reader)
          const name = this.#name.of(topic).add(layouts.key.bytes, 0, layouts.key.length)
          output.writer.removed(name.bytes.subarray(0, name.length), name.hash, 1)
        }
        continue
      }
      positions.push(position)
      if (compacted && op === OP_UPDATE) asInsert(walk, out)
      else out.raw(block.payload.subarray(walk.start, walk.end))
    }
    if (positions.length === 0) return undefined
    const first = positions[0]!
    const dense = positions.at(-1)! - first + 1 === positions.length
    const { positions: _, ...rest } = block
    const placed = dense ? {} : { positions: Float64Array.from(positions) }
    return { ...rest, ...placed, first, count: positions.length, payload: out.copy() }
  }
}

/** An update that stays without what was before it. */
function asInsert({ reader, layout, end }: RecordWalk, out: ByteWriter): void {
  const bytes = reader.varint()
  const after = reader.buffer.subarray(reader.at + bytes, end)
  const record = new ByteWriter(after.length + 16)
  record.varint(layout)
  record.u8(OP_INSERT)
  record.raw(after)
  out.bytes(record.buffer.subarray(0, record.at))
}

async function endOfSegment(segment: AnySegment): Promise<SegmentEnd> {
  if (!(segment instanceof SealedSegment)) return segment.end ?? { appendTimeMs: 0, marks: new Map() }
  const { appendTimeMs, marks } = await segment.footer()
  return { appendTimeMs, marks: new Map(marks.map(mark => [mark.source, mark])) }
}
