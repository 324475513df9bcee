// Damage to a log's files, drawn from a seed: bits, runs, cuts, splices, doubled blocks, absurd numbers; as they are, or with
// the checksums made right again, so that what lies behind the checksums is reached.
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { type AnyRow, ByteWriter, compileContract, type Log, openEmbeddedLog } from '../../core/index.ts'
import { clicks, kinds, kindsRow, lines } from '../compat/recorded.ts'
import type { SeenBatch } from './log-batches.ts'
import { batchesOf } from './log-batches.ts'
import type { Random } from './random.ts'
import { codecOf } from './row-codecs.ts'
import { SimulatedDisk } from './simulated-disk.ts'

export const FUZZ_PATH = '/log'
const SEGMENT_HEADER_BYTES = 64
const BLOCK_HEADER_BYTES = 72
const ABSURD = [0, 1, 3, 71, 72, 0x7f, 0x80, 0xffff, 0xffffff, 17 * 1024 * 1024, 0x7fffffff, 0x80000000, 0xffffffff]

const bookings = compileContract(
  'bookings',
  'topic',
  z.discriminatedUnion('type', [
    z.object({ type: z.literal('Held'), seat: z.int(), holder: z.string().nullable() }),
    z.object({ type: z.literal('Booked'), cents: z.bigint(), seat: z.int() }),
  ]),
  'seat',
  [],
  ['seat', 'holder'],
)
const bookingOf = (n: number) =>
  n % 2 ? { type: 'Held', seat: n, holder: null } : { type: 'Booked', seat: n, cents: BigInt(n) }

export interface FuzzBase {
  readonly disk: SimulatedDisk
  readonly batches: readonly SeenBatch[]
  /** User → how many of the clicks were removed. */
  readonly removed: ReadonlyMap<string, number>
}

/** A log with all kinds of values in several segments: closed well, as a killed process leaves it, sealed, or cleaned. */
export async function fuzzBase(
  end: 'closed' | 'killed' | 'sealed' | 'cleaned',
  segmentBytesMax = 1_500,
): Promise<FuzzBase> {
  const disk = new SimulatedDisk()
  let now = 1_000
  const options = {
    path: FUZZ_PATH,
    fileSystem: disk,
    segmentBytesMax,
    clock: () => now++,
    seal: end === 'sealed' || end === 'cleaned',
  }
  const log = await openEmbeddedLog(options)
  const [table, pairs, events] = [await log.topic(kinds), await log.topic(lines), await log.topic(clicks)]
  const union = await log.topic(bookings)
  for (let n = 0; n < 12; n++) {
    const batch = log.batch()
    batch.insert(table, kindsRow(n))
    batch.update(pairs, { order: n, line: 0, article: 'a' }, { order: n, line: 0, article: 'b'.repeat(n * 20) })
    batch.event(events, { user: `u${n}`, page: '/' })
    batch.event(union, bookingOf(n))
    if (n % 4 === 3) batch.parked(table, { op: 'delete', key: '1', raw: { id: '1', text: null }, error: 'bad' })
    await batch.commit(n % 3 ? { source: 'shop', position: `0/${n}`, transaction: '7', commitTimeUs: n } : undefined)
    if (n % 5 === 4) await log.batch().commit({ source: 'billing', position: String(n) })
  }
  const all = await batchesOf(log)
  const killed = disk.copy()
  await log.sealed()
  if (end === 'cleaned') await log.clean({ trim: { clicks: 12 }, compact: { 'shop.kinds': 20, 'shop.lines': 20 } })
  const batches = await batchesOf(log)
  const removed = new Map<string, number>()
  const left = new Set(batches.flatMap(({ records }) => records).map(({ position }) => position))
  for (const { position, op, after } of all.flatMap(({ records }) => records)) {
    const user = String(after?.['user'])
    if (op === 'event' && !left.has(position)) removed.set(user, (removed.get(user) ?? 0) + 1)
  }
  await log.close()
  return { disk: end === 'killed' ? killed : disk, batches, removed }
}

export type Damage = (random: Random, bytes: Buffer) => Buffer

const somewhere = (random: Random, bytes: Buffer) => random.int(bytes.length + 1)

export const DAMAGES: Readonly<Record<string, Damage>> = {
  'flipped bits': (random, bytes) => {
    for (let n = 1 + random.int(4); n > 0 && bytes.length > 0; n--) {
      const at = random.int(bytes.length)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(8))
    }
    return bytes
  },
  'random bytes': (random, bytes) => {
    const at = somewhere(random, bytes)
    for (let n = at; n < Math.min(bytes.length, at + 1 + random.int(100)); n++) bytes[n] = random.int(256)
    return bytes
  },
  'a cut': (random, bytes) => bytes.subarray(0, somewhere(random, bytes)),
  'more bytes': (random, bytes) => {
    const zeros = random.next() < 0.5
    return Buffer.concat([
      bytes,
      Buffer.from(Array.from({ length: random.int(300) }, () => (zeros ? 0 : random.int(256)))),
    ])
  },
  'a range taken out': (random, bytes) => {
    const at = somewhere(random, bytes)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + random.int(200)))])
  },
  'a range doubled elsewhere': (random, bytes) => {
    const [from, to] = [somewhere(random, bytes), somewhere(random, bytes)]
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from, from + random.int(300)), bytes.subarray(to)])
  },
  'an absurd number': (random, bytes) => {
    if (bytes.length >= 4) bytes.writeUInt32LE(random.pick(ABSURD), random.int(bytes.length - 3))
    return bytes
  },
  'a block doubled or taken out': (random, bytes) => {
    const starts = blockStarts(bytes)
    if (starts.length === 0) return bytes
    const [block, to] = [random.int(starts.length), random.pick(starts)]
    const [from = 0, end = bytes.length] = [starts[block], starts[block + 1]]
    return random.next() < 0.5
      ? Buffer.concat([bytes.subarray(0, from), bytes.subarray(end)])
      : Buffer.concat([bytes.subarray(0, to), bytes.subarray(from, end), bytes.subarray(to)])
  },
  'an absurd number in a block’s header': (random, bytes) => {
    const starts = blockStarts(bytes)
    if (starts.length === 0) return bytes
    bytes.writeUInt32LE(random.pick(ABSURD), random.pick(starts) + 8 + 4 * random.int(16))
    return bytes
  },
}

function blockStarts(bytes: Buffer): number[] {
  const starts: number[] = []
  for (let at = bytes.indexOf('MSBK'); at >= 0; at = bytes.indexOf('MSBK', at + 1))
    if (at + BLOCK_HEADER_BYTES <= bytes.length) starts.push(at)
  return starts
}

/** Makes the checksums right again: of a segment's header and of whatever looks like its blocks, or of a JSON file. */
export function repaired(bytes: Buffer, name: string): Buffer {
  if (name.endsWith('.json')) return repairedJson(bytes)
  if (bytes.length < SEGMENT_HEADER_BYTES) return bytes
  if (name.endsWith('.sealed')) return repairedSealed(bytes)
  bytes.writeUInt32LE(crc32(bytes.subarray(8, SEGMENT_HEADER_BYTES)), 4)
  const seed = crc32(bytes.subarray(0, SEGMENT_HEADER_BYTES))
  for (const at of blockStarts(bytes)) {
    const length = bytes.readUInt32LE(at + 8)
    bytes.writeUInt32LE(at % 0x1_0000_0000, at + 24)
    bytes.writeUInt32LE(0, at + 28)
    if (length >= BLOCK_HEADER_BYTES && at + length <= bytes.length)
      bytes.writeUInt32LE(crc32(bytes.subarray(at + 8, at + length), seed), at + 4)
  }
  return bytes
}

const SEALED_HEAD_BYTES = 64
const TRAILER_BYTES = 40

/** Header, heads of blocks, footer and trailer; sections and the key index keep checksums of their own. */
function repairedSealed(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32(bytes.subarray(8, SEGMENT_HEADER_BYTES)), 4)
  const seed = crc32(bytes.subarray(0, SEGMENT_HEADER_BYTES))
  for (let at = bytes.indexOf('MSCB'); at >= 0; at = bytes.indexOf('MSCB', at + 1)) {
    if (at + SEALED_HEAD_BYTES > bytes.length) break
    const end = at + SEALED_HEAD_BYTES + bytes.readUInt32LE(at + 8)
    if (end <= bytes.length) bytes.writeUInt32LE(crc32(bytes.subarray(at + 8, end), seed), at + 4)
  }
  const from = bytes.length - TRAILER_BYTES
  if (from < SEGMENT_HEADER_BYTES) return bytes
  const trailer = bytes.subarray(from)
  const footer = trailer.readUInt32LE(0)
  if (footer <= from) {
    trailer.writeUInt32LE(from - footer, 8)
    trailer.writeUInt32LE(crc32(bytes.subarray(footer, from), seed), 12)
  }
  trailer.writeUInt32LE(bytes.length, 16)
  trailer.writeUInt32LE(crc32(trailer.subarray(0, 32), seed), 32)
  return bytes
}

function repairedJson(bytes: Buffer): Buffer {
  try {
    const file = JSON.parse(bytes.toString()) as Record<string, unknown>
    if ('crc' in file) file['crc'] = crc32(JSON.stringify(file['content'] ?? file['topics']))
    return Buffer.from(JSON.stringify(file))
  } catch {
    return bytes
  }
}

const VALUES = [null, 0, -1, 1, 2, 1e300, 2 ** 53, 0.5, '', 'int32', 'nothing', [], {}, true, [[]], 'x'.repeat(500)]

/** A JSON file with one of its values changed for another. */
export const changedJson: Damage = (random, bytes) => {
  let left = 0
  const count = (_: string, value: unknown) => {
    left++
    return value
  }
  const text = bytes.toString()
  JSON.parse(text, count)
  left = random.int(left)
  return Buffer.from(
    JSON.stringify(JSON.parse(text, (_, value: unknown) => (left-- === 0 ? random.pick(VALUES) : value))),
  )
}

/** @throws where a row that was read is not one of its topic's contract */
export function mustBeOfContract(log: Log, batches: readonly SeenBatch[]): void {
  const writer = new ByteWriter()
  for (const { records } of batches) {
    for (const { topic, before, after } of records) {
      writer.at = 0
      const { contract } = log.findTopic(topic)!
      for (const row of [before, after] as (AnyRow | null)[]) if (row) codecOf(contract, row).encode(writer, row)
    }
  }
}
