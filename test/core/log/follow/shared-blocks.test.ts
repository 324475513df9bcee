import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  channelPair,
  compileContract,
  type EmbeddedLog,
  type FileSystem,
  type FollowChannel,
  type FollowedLog,
  type FollowerChannel,
  followLog,
  type LogBlock,
  type LogReader,
  openEmbeddedLog,
  type SharedBlockMemory,
  sharedBlockMemory,
} from '../../../../core/index.ts'
import { BLOCK_MAGIC } from '../../../../core/log/sealed/format.ts'
import { type BlockKey, SharedBlocks } from '../../../../core/log/sealed/shared-blocks.ts'
import { recordsOf } from '../../../support/log-records.ts'
import { Random } from '../../../support/random.ts'
import { SimulatedDisk } from '../../../support/simulated-disk.ts'

const notes = compileContract('notes', 'topic', z.object({ id: z.int(), at: z.int(), text: z.string() }), 'id')
/** Three of them are a sealed block. */
const EVENTS_PER_BATCH = 34
const BATCHES = 40
const SEGMENT_BYTES = 10 * 1024 * 1024

const logs: EmbeddedLog[] = []
let log: EmbeddedLog
let disk: SimulatedDisk
beforeAll(async () => {
  ;[log, disk] = await sealedLog()
})
afterAll(async () => {
  for (const log of logs) await log.close()
})

/** A log with sealed segments of several blocks each. */
async function sealedLog(): Promise<[EmbeddedLog, SimulatedDisk]> {
  const fileSystem = new SimulatedDisk()
  const log = await openEmbeddedLog({ path: '/log', fileSystem, segmentBytesMax: SEGMENT_BYTES })
  logs.push(log)
  const topic = await log.topic(notes)
  for (let n = 0; n < BATCHES; n++) {
    const batch = log.batch()
    for (let id = n * EVENTS_PER_BATCH; id < (n + 1) * EVENTS_PER_BATCH; id++)
      batch.event(topic, { id, at: id * id, text: `${id} ${'some text '.repeat(3_000)}${id}` })
    await batch.commit()
  }
  await log.sealed()
  return [log, fileSystem]
}

async function sharing(
  log: EmbeddedLog,
  memory: SharedBlockMemory,
  reader: number,
  fileSystem: FileSystem,
): Promise<FollowedLog> {
  const [there, here]: readonly [FollowChannel, FollowerChannel] = channelPair()
  log.follow(there)
  const followed = await followLog(here, { fileSystem, shared: { memory, reader } })
  await followed.topic(notes)
  return followed
}

/** Counts the sealed blocks that are read from a disk. */
function counting(disk: SimulatedDisk): [FileSystem, () => number] {
  let blocks = 0
  const fileSystem = new Proxy(disk, {
    get: (target, name) => {
      if (name !== 'open') return Reflect.get(target, name, target)
      return async (path: string, mode: 'read') => {
        const file = await target.open(path, mode)
        const read = file.read.bind(file)
        file.read = async (into, position) => {
          const bytes = await read(into, position)
          if (path.endsWith('.sealed') && bytes > 4 && into.readUInt32LE(0) === BLOCK_MAGIC) blocks++
          return bytes
        }
        return file
      }
    },
  })
  return [fileSystem, () => blocks]
}

const idsOf = (blocks: readonly LogBlock[]): readonly unknown[] => recordsOf(blocks).map(({ after }) => after?.['id'])
/** What blocks hold, and that texts are those of their records. */
function check(blocks: readonly LogBlock[]): readonly unknown[] {
  for (const { after } of recordsOf(blocks)) {
    const { id, at, text } = after as { id: number; at: number; text: string }
    if (at !== id * id || !text.startsWith(`${id} some`) || !text.endsWith(` ${id}`))
      throw new Error(`event ${id} has values of another`)
  }
  return idsOf(blocks)
}

const ALL = Array.from({ length: BATCHES * EVENTS_PER_BATCH }, (_, id) => id)

async function readAll(reader: LogReader): Promise<readonly unknown[]> {
  const ids: unknown[] = []
  for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) ids.push(...check(blocks))
  return ids
}

describe('readers that share blocks', () => {
  it('read each block once between them where they go level', async () => {
    const [fileSystem, blocksRead] = counting(disk)
    const alone = await sharing(log, sharedBlockMemory(1), 0, fileSystem)
    expect(await readAll(alone.read(0))).toEqual(ALL)
    const blocks = blocksRead()
    expect(blocks).toBeGreaterThan(8)
    const memory = sharedBlockMemory(2)
    const [a, b] = [await sharing(log, memory, 0, fileSystem), await sharing(log, memory, 1, fileSystem)]
    const [one, other] = [a.read(0, { lent: true }), b.read(0, { lent: true })]
    const ids: unknown[][] = [[], []]
    for (;;) {
      const both = [await one.ready(), await other.ready()]
      if (both.every(({ length }) => length === 0)) break
      for (const [n, blocks] of both.entries()) ids[n]!.push(...check(blocks))
    }
    expect(ids).toEqual([ALL, ALL])
    expect(blocksRead() - blocks).toBe(blocks)
  })

  it.each([1, 2, 3, 4])(
    'read the same at whatever pace, and what they hold stays until they go on (seed %i)',
    async seed => {
      const random = new Random(seed)
      const [log, disk] = await sealedLog()
      const count = 2 + random.int(2)
      const memory = sharedBlockMemory(count)
      const follower = async (n: number) => {
        const followed = await sharing(log, memory, n, disk)
        return {
          reader: followed.read(0, { lent: true }),
          holds: [] as readonly LogBlock[],
          ids: [] as unknown[],
          ended: false,
        }
      }
      const followers = await Promise.all(Array.from({ length: count }, (_, n) => follower(n)))
      while (followers.some(({ ended }) => !ended)) {
        // Some go on together, others stay behind: at times by more than is held.
        const goOn = followers.filter(({ ended }) => !ended && random.next() < random.pick([0.1, 0.5, 0.9]))
        await Promise.all(
          goOn.map(async follower => {
            follower.ids.push(...check(follower.holds))
            follower.holds = await follower.reader.ready()
            follower.ended = follower.holds.length === 0
          }),
        )
      }
      for (const { ids } of followers) expect(ids).toEqual(ALL)
    },
  )

  it('find the same damage, each for itself', async () => {
    const [log, disk] = await sealedLog()
    const memory = sharedBlockMemory(2)
    const [a, b] = [await sharing(log, memory, 0, disk), await sharing(log, memory, 1, disk)]
    const readers = [a.read(0, { lent: true }), b.read(0, { lent: true })]
    const [name] = (await disk.list('/log')).filter(each => each.endsWith('.sealed')).sort()
    const bytes = disk.bytes(`/log/${name}`)
    // Of the first block, which stands behind the header.
    bytes[1_000] = bytes[1_000]! ^ 1
    for (const reader of readers)
      await expect(readAll(reader)).rejects.toThrow(expect.objectContaining({ code: 'LOG_CORRUPT' }))
  })
})

describe('the memory of shared blocks', () => {
  const key = (n: number): BlockKey => ({
    segment: { first: 1, generation: 0 },
    offset: n * 1_000,
    first: n * 10 + 1,
    last: n * 10 + 10,
  })
  const both = () => {
    const memory = sharedBlockMemory(2)
    return [new SharedBlocks(memory, 0), new SharedBlocks(memory, 1)] as const
  }

  it('is what was written there, until both have passed it', async () => {
    const [one, other] = both()
    const claims = Array.from({ length: 100 }, (_, n) => ({ n, claim: one.claim(key(n), 100) })).filter(
      ({ claim }) => claim,
    )
    expect(claims.length).toBeGreaterThan(2)
    for (const { n, claim } of claims) {
      claim!.memory.fill(n)
      claim!.ready()
    }
    one.passed(1_000)
    expect(one.claim(key(100), 100)).toBeUndefined()
    expect((await other.find(key(0)))?.[99]).toBe(0)
    expect((await other.find(key(1)))?.[99]).toBe(1)
    other.passed(key(1).first)
    const claim = one.claim(key(100), 100)
    expect(one.claim(key(101), 100)).toBeUndefined()
    claim!.memory.fill(100)
    claim!.ready()
    expect(await other.find(key(0))).toBeUndefined()
    expect((await other.find(key(1)))?.[99]).toBe(1)
    expect((await other.find(key(100)))?.[99]).toBe(100)
  })

  it('is waited for, but not for long', async () => {
    const [one, other] = both()
    const claim = one.claim(key(1), 100)!
    expect([other.has(key(1)), other.has(key(2))]).toEqual([true, false])
    const waits = other.find(key(1))
    claim.memory.fill(7)
    claim.ready()
    expect((await waits)?.[0]).toBe(7)
    const dropped = one.claim(key(2), 100)!
    const inVain = other.find(key(2))
    dropped.drop()
    expect(await inVain).toBeUndefined()
    one.claim(key(3), 100)
    // Whoever makes it has ended.
    expect(await other.find(key(3))).toBeUndefined()
  })

  it('has no room for a block that is larger than its part', () => {
    const [one] = both()
    expect(one.claim(key(1), one.claim(key(2), 1)!.memory.length + 1)).toBeUndefined()
  })
})
