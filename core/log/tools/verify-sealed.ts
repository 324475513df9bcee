// The check of a sealed segment: header, trailer and footer, each block against its entry in the footer, the key index against the
// events of the blocks, and that nothing but zeros stands outside of all of them.
import { ByteReader } from '../../contract/index.ts'
import { type SourceParts, sourceBlocks } from '../base/source-blocks.ts'
import { checkSegmentHeader, SEGMENT_HEADER_BYTES } from '../block.ts'
import { OP_EVENT } from '../records.ts'
import { type BlockEntry, isSparse, type KeyBuffer, planOf } from '../sealed/block-writer.ts'
import { type Footer, SEALED_SEGMENT, TRAILER_BYTES } from '../sealed/format.ts'
import { KeyTally, verifyKeyIndex } from '../sealed/key-index.ts'
import { StreamName } from '../sealed/key-table.ts'
import type { GroupData, SealedBlock } from '../sealed/sealed-block.ts'
import { type SealedName, SealedSegment } from '../sealed/sealed-segment.ts'
import { TAGS, TagReader } from '../sealed/tags.ts'
import { Topics } from '../topics.ts'
import type { Verification } from './verify.ts'

/**
 * @param last what base.json says, of a segment of the base
 * @throws what the file system says, where the file has gone
 */
export async function verifySealed(of: Verification, name: SealedName, last?: number): Promise<void> {
  const segment = new SealedSegment(of.files, of.folder, of.identity.id, name)
  const { first } = name
  const { size, headerWrong } = await of.files.use(segment.path, async file => {
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    const bytes = header.subarray(0, await file.read(header, 0))
    const headerWrong = checkSegmentHeader(SEALED_SEGMENT, bytes, of.identity.id, first)?.reason
    return { size: await file.size(), headerWrong }
  })
  of.progress(size)
  const { reached } = of
  const ordered = last === undefined ? reached.next === first : (reached.next ?? 0) <= first
  if (reached.next !== undefined && !ordered)
    of.damage(segment.path, 0, `it begins at position ${first}, the log goes on at ${reached.next}`)
  // Without the header no checksum of the file can be checked, without the footer nothing in it is found.
  reached.next = undefined
  if (headerWrong !== undefined) {
    of.damage(segment.path, 0, headerWrong)
    return
  }
  const footer = await footerOf(of, segment, size)
  if (!footer) return
  if (last !== undefined && footer.last !== last)
    of.damage(segment.path, size - TRAILER_BYTES, `it ends at position ${footer.last}, base.json says ${last}`)
  const walk = new SealedWalk(of, segment, footer, last !== undefined)
  await walk.run(size)
}

async function footerOf(of: Verification, segment: SealedSegment, size: number): Promise<Footer | undefined> {
  try {
    await segment.open()
  } catch (error) {
    of.error(segment.path, Math.max(0, size - TRAILER_BYTES), error)
    return undefined
  }
  try {
    return await segment.footer()
  } catch (error) {
    of.error(segment.path, await footerOffset(of, segment, size), error)
    return undefined
  }
}

const footerOffset = (of: Verification, segment: SealedSegment, size: number): Promise<number> =>
  of.files.use(segment.path, async file => {
    const offset = Buffer.alloc(8)
    await file.read(offset, size - TRAILER_BYTES)
    return Number(offset.readBigUInt64LE())
  })

class SealedWalk {
  readonly #of: Verification
  readonly #segment: SealedSegment
  readonly #footer: Footer
  /** Parts of the file that are accounted for: offset, end. */
  readonly #parts: [number, number][] = [[0, SEGMENT_HEADER_BYTES]]
  #events = 0
  #damaged = false
  /** It is of the cleaned beginning: records may be missing, and with them marks. */
  readonly #ofBase: boolean

  constructor(of: Verification, segment: SealedSegment, footer: Footer, ofBase: boolean) {
    this.#ofBase = ofBase
    this.#of = of
    this.#segment = segment
    this.#footer = footer
  }

  async run(size: number): Promise<void> {
    const { first, last, path, generation } = this.#segment
    const { reached, topics } = this.#of
    let next = first
    for (const [n, entry] of this.#footer.blocks.entries()) {
      this.#parts.push([entry.offset, entry.offset + entry.bytes])
      if (generation > 0 ? entry.first < next : entry.first !== next)
        this.#damage(entry.offset, `a block begins at position ${entry.first}, out of order`)
      if (generation === 0 && isSparse(entry)) this.#damage(entry.offset, 'a block that was never cleaned has holes')
      next = entry.last + 1
      this.#events += entry.groups.reduce((sum, { op, count }) => sum + (op === OP_EVENT ? count : 0), 0)
      if (topics) await this.#block(n, entry, topics)
    }
    const footerAt = await footerOffset(this.#of, this.#segment, size)
    if (generation > 0 ? next > last + 1 : next !== last + 1)
      this.#damage(footerAt, `it ends at position ${last}, its blocks at ${next - 1}`)
    if (topics) await this.#keyIndex(topics, footerAt)
    this.#parts.push([footerAt, size])
    await this.#gaps(size)
    if (!this.#damaged && topics && !this.#ofBase) this.#of.compareEnd(path, footerAt, this.#footer)
    // After damage the footer is believed: what follows can then be checked.
    this.#of.believe(this.#footer)
    reached.next = last + 1
  }

  #damage(offset: number, problem: string): void {
    this.#damaged = true
    this.#of.damage(this.#segment.path, offset, problem)
  }

  #error(offset: number, error: unknown): void {
    this.#damaged = true
    this.#of.error(this.#segment.path, offset, error)
  }

  async #block(n: number, entry: BlockEntry, topics: Topics): Promise<void> {
    const { path } = this.#segment
    try {
      const block = await this.#segment.block(n, topics)
      if (!block) return
      const spans = (await block.unpack()).blocks(0)
      checkGroups(block, entry)
      for (const span of spans) {
        this.#of.pass(span, path, entry.offset)
        this.#of.decode(span, path, entry.offset)
      }
      const times = spans.map(({ appendTimeMs }) => appendTimeMs)
      if (times[0] !== entry.minTimeMs || times.at(-1) !== entry.maxTimeMs)
        throw new RangeError('the append times of a block are not those of the footer')
      if (n === this.#footer.blocks.length - 1 && !spans.at(-1)?.last)
        throw new RangeError('the last batch is not whole')
    } catch (error) {
      this.#error(entry.offset, error)
    }
  }

  async #keyIndex(topics: Topics, footerAt: number): Promise<void> {
    let sound = true
    const index = await verifyKeyIndex(this.#segment, topics, {
      piece: (offset, bytes) => this.#parts.push([offset, offset + bytes]),
      damage: (offset, error) => {
        sound = false
        this.#error(offset, error)
      },
    })
    if (!sound || this.#damaged) return
    if (index.streams !== this.#events)
      this.#damage(footerAt, `the key index has ${index.streams} events, the blocks have ${this.#events}`)
    const said = this.#footer.tags
    if (said.length === 0) return
    const { fs, folder } = this.#of
    // With the topics as they are indexed: those of a tool have a layout each, and no tags.
    const parts = { fs, topics: Topics.of(fs, folder, topics.stored) }
    const { tally, whole } = await tagsOfBlocks(parts, this.#segment)
    // Of a tag that the contract has no more, only the index knows.
    for (const tag of said.filter(each =>
      whole.some(({ topic, field }) => topic === each.topic && field === each.field),
    ))
      if (index.tag(tag) !== tally.tag(tag))
        this.#damage(
          footerAt,
          `the key index has ${index.tag(tag)} events by tag ${tag.field}, the blocks have ${tally.tag(tag)}`,
        )
  }

  /** What is no part of anything. */
  async #gaps(size: number): Promise<void> {
    let at = 0
    for (const [from, to] of [...this.#parts.sort(([a], [b]) => a - b), [size, size] as const]) {
      if (from < at) this.#damage(from, 'two parts of the file stand at the same place')
      if (from > at) await this.#zeros(at, from)
      at = Math.max(at, to)
    }
  }

  async #zeros(from: number, to: number): Promise<void> {
    const bytes = Buffer.alloc(Math.min(to - from, 1024 * 1024))
    await this.#of.files.use(this.#segment.path, file => file.read(bytes, from))
    const at = bytes.findIndex(byte => byte !== 0)
    if (at >= 0 || to - from > bytes.length)
      this.#damage(from + Math.max(0, at), 'these bytes are of no block, page or chunk')
  }
}

/** How many events stand under each tag by what the records say; of which tags that is all of them. */
async function tagsOfBlocks(parts: SourceParts, segment: SealedSegment) {
  const tally = new KeyTally()
  const tags = new TagReader(parts.topics)
  const name = new StreamName()
  const take = (tag: KeyBuffer) => tally.add(name.of(TAGS).add(tag.bytes, 0, tag.length).bytes, 1)
  for await (const block of sourceBlocks(parts, segment)) {
    if (typeof block === 'number') continue
    const reader = new ByteReader(block.payload)
    for (let n = 0; n < block.count; n++) {
      const end = reader.varint() + reader.at
      const layout = reader.varint()
      if (reader.u8() === OP_EVENT) tags.each(layout, block.payload, reader.at, take)
      reader.at = end
    }
  }
  return { tally, whole: tags.indexed() }
}

/** The footer's groups and zones against the columns of the block. */
function checkGroups(block: SealedBlock, entry: BlockEntry): void {
  const { groups } = block
  const same = groups.length === entry.groups.length
  for (const [n, said] of entry.groups.entries()) {
    const group = groups[n]
    if (!same || group?.layout.id !== said.layout || group.op !== said.op || group.count !== said.count)
      throw new RangeError('the groups of a block are not those of the footer')
    for (const zone of said.zones) checkZone(group, zone)
  }
}

function checkZone(group: GroupData, { column, image, min, max }: BlockEntry['groups'][number]['zones'][number]): void {
  const columns = group.images[image]?.columns ?? []
  const values = columns[column]?.numbers()
  if (!values) throw new RangeError(`a zone is of column ${column}, which there is not`)
  // What stands where there is no value says nothing.
  const tags = (planOf(group.layout).columns[column]?.tags ?? []).map(tag => columns[tag]!.numbers())
  for (let n = 0; n < values.length; n++) {
    if (values[n]! >= min && values[n]! <= max) continue
    if (tags.every(of => of[n] === 1)) throw new RangeError(`a value of column ${column} is outside of its zone`)
  }
}
