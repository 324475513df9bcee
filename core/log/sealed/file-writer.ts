// Writes one sealed file: header, blocks, runs of the key index, footer, trailer. Whoever uses it gives hot blocks in order, and
// makes the file durable.
import { setImmediate as immediate } from 'node:timers/promises'
import { segmentHeader, segmentSeed } from '../block.ts'
import type { File } from '../file-system.ts'
import type { SegmentEnd } from '../sidecar.ts'
import type { Topics } from '../topics.ts'
import { type BlockEntry, BlockWriter, type KeyedRow, type PlacedBlock } from './block-writer.ts'
import {
  RUN_PAYLOAD_BYTES_FULL,
  SEAL_RECORDS_PER_TURN,
  SEALED_PAYLOAD_BYTES_FULL,
  SEALED_RECORDS_FULL,
} from './bounds.ts'
import { type ChunkEntry, SEALED_SEGMENT, writeFooter, writeTrailer } from './format.ts'
import { KeyRun } from './key-writer.ts'
import type { Compression } from './sections.ts'
import { TAGS, TagReader } from './tags.ts'

export interface SealedFileOptions {
  readonly identity: { readonly id: string; readonly epoch: number }
  readonly topics: Topics
  /** First position of the segment. */
  readonly first: number
  /** The cleaning that writes it; default 0: it stands for one hot segment. */
  readonly generation?: number
  readonly compression: Compression
  /** About how many bytes of hot blocks will come: room is made for their keys. */
  readonly payloadBytes: number
  /** Once aborted, the next write throws its reason. */
  readonly signal?: AbortSignal
}

export class SealedFileWriter {
  readonly #file: File
  readonly #options: SealedFileOptions
  readonly #header: Buffer
  readonly #seed: number
  readonly #writer: BlockWriter
  readonly #entries: BlockEntry[] = []
  readonly #runs: ChunkEntry[][] = []
  readonly #tags: TagReader
  #run: KeyRun
  #at = 0

  constructor(file: File, options: SealedFileOptions) {
    const { identity, topics, first, generation, payloadBytes } = options
    this.#file = file
    this.#options = options
    this.#header = segmentHeader(SEALED_SEGMENT, identity.id, first, identity.epoch, generation)
    this.#seed = segmentSeed(this.#header)
    this.#writer = new BlockWriter(topics)
    this.#run = new KeyRun(payloadBytes)
    this.#tags = new TagReader(topics)
  }

  /** True where nothing was put in. */
  get empty(): boolean {
    return this.#entries.length === 0 && this.#writer.empty && this.#runs.length === 0 && this.#run.empty
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#at
  }

  async add(block: PlacedBlock): Promise<void> {
    if (this.#at === 0) await this.#put([this.#header])
    // A block's places then fit 16 bits, and so do the differences of a counter in it.
    if (this.#writer.count + block.count > SEALED_RECORDS_FULL) await this.#closeBlock()
    for (const _ of this.#writer.add(block, SEAL_RECORDS_PER_TURN, this.#keyed)) {
      await immediate()
      // Tags may be many more than records.
      if (this.#run.full) await this.#closeRun()
    }
    const { count, payloadBytes } = this.#writer
    if (count >= SEALED_RECORDS_FULL || payloadBytes >= SEALED_PAYLOAD_BYTES_FULL) await this.#closeBlock()
  }

  /** An event stands under its key and under each of its tags. */
  readonly #keyed: KeyedRow = (topic, key, payload, position, layout, start, end) => {
    this.#run.add(topic, key, payload, position, layout, start, end)
    this.#tags.each(layout, payload, start, name => this.#run.add(TAGS, name, payload, position, layout, start, end))
  }

  /** Notes events that a cleaning took out, of a stream named as in the key index. */
  removed(name: Uint8Array, hash: number, events: number): void {
    this.#run.removed(name, hash, events)
  }

  /** To be called now and then between `removed`s: a part of the key index has so many streams and no more. */
  async relieve(): Promise<void> {
    if (this.#run.full) await this.#closeRun()
  }

  /** @param last position of the segment's last record */
  async finish(last: number, { appendTimeMs, marks }: SegmentEnd): Promise<void> {
    if (this.#at === 0) await this.#put([this.#header])
    await this.#closeBlock()
    await this.#closeRun()
    const footer = writeFooter({
      last,
      appendTimeMs,
      marks: [...marks.values()],
      blocks: this.#entries,
      runs: this.#runs,
      tags: this.#tags.indexed(),
    })
    await this.#put([footer, writeTrailer(this.#at, footer, last, this.#seed)])
  }

  async #closeBlock(): Promise<void> {
    if (this.#writer.empty) return
    const { pieces, entry } = await this.#writer.finish(this.#at, this.#seed, this.#options.compression)
    this.#entries.push(entry)
    await this.#put(pieces)
    if (this.#run.full || this.#run.payloadBytes >= RUN_PAYLOAD_BYTES_FULL) await this.#closeRun()
  }

  async #closeRun(): Promise<void> {
    if (this.#run.empty) return
    this.#runs.push(await this.#run.write(pieces => this.#put(pieces), this.#options.compression, this.#seed))
    this.#run = new KeyRun(this.#options.payloadBytes)
  }

  async #put(pieces: readonly Uint8Array[]): Promise<number> {
    this.#options.signal?.throwIfAborted()
    const at = this.#at
    const buffers = pieces.map(piece => Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength))
    await this.#file.write(buffers, at)
    this.#at = buffers.reduce((sum, buffer) => sum + buffer.length, at)
    return at
  }
}
