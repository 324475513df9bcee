// Scans: columns of one topic or several, block after block. Sealed blocks give them as they are stored; hot blocks, and records of
// an older contract, are first made into a block of the current form in memory, so that all readers see one form.
import { setImmediate as immediate } from 'node:timers/promises'
import { HOT_SEGMENT, type StoredBlock, segmentHeader, segmentSeed } from '../block.ts'
import type { LogTopic, ScanOptions } from '../log.ts'
import type { Layout, Topics } from '../topics.ts'
import { BlockWriter, type PlacedBlock } from './block-writer.ts'
import { SEAL_RECORDS_PER_TURN, SEALED_PAYLOAD_BYTES_FULL, SEALED_RECORDS_FULL } from './bounds.ts'
import { Batch } from './column-batch.ts'
import { SealedBlock } from './sealed-block.ts'
import { Unsealer } from './unseal.ts'
import { checkRanges, mayHold } from './zones.ts'

/** Where the blocks come from. */
export interface ScanSource {
  readonly topics: Topics
  /** Sealed blocks, and the payloads of hot ones, that may hold positions after `after`; in order. */
  blocks(after: number, wanted: (block: SealedBlock['entry']) => boolean): AsyncIterable<SealedBlock | StoredBlock>
}

export async function* scan(
  source: ScanSource,
  topics: readonly LogTopic[],
  options: ScanOptions,
): AsyncGenerator<Batch> {
  const { from = 1, to = Number.POSITIVE_INFINITY, within = {} } = options
  const ids = new Set(topics.map(topic => topic.id))
  checkRanges(topics, within)
  const hot = new HotBlocks(source.topics)
  const wanted = ({ first, groups }: SealedBlock['entry']) =>
    first <= to &&
    groups.some(group => {
      const layout = source.topics.layout(group.layout)
      return layout !== undefined && ids.has(layout.topic.id) && mayHold(group, layout, within)
    })
  const hotBatches = async function* () {
    const block = await hot.take()
    if (wanted(block.entry)) yield* batches(block, topics, from, to)
  }
  for await (const block of source.blocks(from - 1, wanted)) {
    if (!(block instanceof SealedBlock)) {
      if (block.first > to) break
      await hot.add(block)
      if (hot.full) yield* hotBatches()
      continue
    }
    if (!hot.empty) yield* hotBatches()
    if (block.entry.first > to) break
    yield* batches(await current(block, ids, source.topics), topics, from, to)
  }
  if (!hot.empty) yield* hotBatches()
}

function* batches(block: SealedBlock, topics: readonly LogTopic[], from: number, to: number): Generator<Batch> {
  const batch = new Batch(block, topics, from, to)
  if (batch.count > 0) yield batch
}

/** Blocks made in memory have a file's form without a file. */
const MEMORY_SEED = segmentSeed(segmentHeader(HOT_SEGMENT, '00000000-0000-0000-0000-000000000000', 1, 1))

async function inMemory(writer: BlockWriter, topics: Topics): Promise<SealedBlock> {
  const { pieces, entry } = await writer.finish(0, MEMORY_SEED, 'none')
  return new SealedBlock(Buffer.concat(pieces), entry, { topics, file: '(hot)' }, MEMORY_SEED)
}

class HotBlocks {
  readonly #topics: Topics
  readonly #writer: BlockWriter

  constructor(topics: Topics) {
    this.#topics = topics
    this.#writer = new BlockWriter(topics)
  }

  get empty(): boolean {
    return this.#writer.empty
  }

  get full(): boolean {
    return this.#writer.count >= SEALED_RECORDS_FULL || this.#writer.payloadBytes >= SEALED_PAYLOAD_BYTES_FULL
  }

  async add(block: StoredBlock): Promise<void> {
    for (const _ of this.#writer.add(block, SEAL_RECORDS_PER_TURN)) await immediate()
  }

  async take(): Promise<SealedBlock> {
    const block = await inMemory(this.#writer, this.#topics)
    return current(block, undefined, this.#topics)
  }
}

const isOld = (layout: Layout): boolean => !layout.topic.layouts.includes(layout)

/** The block with each record in the layout in which it would be written now. */
async function current(block: SealedBlock, ids: ReadonlySet<number> | undefined, topics: Topics): Promise<SealedBlock> {
  const old = block.groups.some(({ layout }) => isOld(layout) && (ids?.has(layout.topic.id) ?? true))
  if (!old) return block
  const writer = new BlockWriter(topics)
  const unsealer = new Unsealer()
  const { first, count } = block.entry
  const { positions } = block
  for (let n = 0; n < count; n++) {
    unsealer.add(block, n, 'current')
    if (n % SEAL_RECORDS_PER_TURN === SEAL_RECORDS_PER_TURN - 1) await immediate()
  }
  const { minTimeMs: appendTimeMs, offset, bytes } = block.entry
  const bare = { offset, bytes, part: 0, last: true, mark: undefined, durableBytes: 0, appendTimeMs }
  const placed = positions ? { first: positions[0] ?? first, positions } : { first }
  const stored: PlacedBlock = { ...bare, ...placed, count, payload: unsealer.take() }
  for (const _ of writer.add(stored, SEAL_RECORDS_PER_TURN)) await immediate()
  return inMemory(writer, topics)
}
