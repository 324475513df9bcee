// Any bytes in the log's files: a typed error, or the records that were written; never a crash, a hang, a wrong record or more
// memory than the bytes call for. The seed is in the message: `SEED=17 npm test -- fuzz` begins with it, `FUZZ=20000` runs
// so many of each.
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import {
  ByteReader,
  ByteWriter,
  createRowCodec,
  describeFields,
  type EmbeddedLog,
  isMainstemError,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { damages, FIRST_SEED } from '../../support/campaign.ts'
import { batchesOf, type SeenBatch } from '../../support/log-batches.ts'
import {
  changedJson,
  DAMAGES,
  type Damage,
  FUZZ_PATH,
  type FuzzBase,
  fuzzBase,
  mustBeOfContract,
  repaired,
} from '../../support/log-fuzz.ts'
import { Random } from '../../support/random.ts'
import { randomObject } from '../../support/random-schema.ts'
import type { SimulatedDisk } from '../../support/simulated-disk.ts'

/** One run takes a few milliseconds; one that takes this long hangs, or would with a larger file. */
const RUN_MS_MAX = 2_000
const MEMORY_BYTES_MAX = 300 * 1024 * 1024

const ALLOWED = new Set(['LOG_CORRUPT', 'LOG_FORMAT_NEWER', 'DATA_DIR_INVALID'])

interface Read {
  readonly batches: readonly SeenBatch[]
}

/**
 * What the log says, or undefined where it refuses as it may.
 * @param forged in columns, with right checksums, a head or a type may say anything of the values: they are only read
 */
async function readAll(disk: SimulatedDisk, removed: FuzzBase['removed'], forged: boolean): Promise<Read | undefined> {
  try {
    const log = await openEmbeddedLog({ path: FUZZ_PATH, fileSystem: disk, seal: false })
    try {
      const batches = await batchesOf(log)
      if (forged) return { batches }
      mustBeOfContract(log, batches)
      // A reader in the middle must not find what one from the beginning does not.
      const middle = Math.floor(log.end / 2)
      const found = (await batchesOf(log, middle)).flatMap(({ records }) => records)
      const whole = batches.flatMap(({ records }) => records).filter(({ position }) => position > middle)
      if (!isDeepStrictEqual(found, whole)) throw new Error('two readers find different records')
      await mustAgree(log, batches, removed)
      return { batches }
    } finally {
      await log.close()
    }
  } catch (error) {
    mustBeAllowed(error)
    return undefined
  }
}

/** Streams come by the key index, and must be those of the records themselves. */
async function mustAgree(log: EmbeddedLog, batches: readonly SeenBatch[], removed: FuzzBase['removed']): Promise<void> {
  const topic = log.findTopic('clicks')
  if (!topic) return
  const events = batches
    .flatMap(({ records }) => records)
    .filter(({ op, topic: of }) => op === 'event' && of === 'clicks')
  for (const user of ['u0', 'u3', 'nobody']) {
    const known = events.filter(({ after }) => after?.['user'] === user).map(({ position, after }) => [position, after])
    const found: unknown[] = []
    for await (const { position, event } of log.stream(topic, user)) found.push([position, event])
    if (!isDeepStrictEqual(found, known)) throw new Error(`the stream of ${user} is another`)
    if ((await log.lastVersion(topic, user)) !== known.length + (removed.get(user) ?? 0))
      throw new Error(`the last version of ${user} is another`)
  }
}

function mustBeAllowed(error: unknown): void {
  if (!isMainstemError(error) || !ALLOWED.has(error.code)) throw error
  // A crash of ours in the guise of a typed error.
  if (error.cause instanceof TypeError || error.cause instanceof ReferenceError) throw error.cause
}

async function run(seed: number, base: FuzzBase, repair: boolean): Promise<Read | undefined> {
  const random = new Random(seed)
  const disk = base.disk.copy()
  const path = random.pick(disk.paths.filter(name => !name.endsWith('lock.json')))
  const json = path.endsWith('.json')
  const kinds = Object.entries(DAMAGES)
  const [kind, damage]: [string, Damage] =
    json && (repair || random.next() < 0.5) ? ['a changed value', changedJson] : random.pick(kinds)
  const damaged = damage(random, Buffer.from(disk.bytes(path)))
  disk.plant(path, repair ? repaired(damaged, path) : damaged)
  const began = performance.now()
  try {
    const read = await readAll(disk, base.removed, repair && disk.paths.some(name => name.endsWith('.sealed')))
    if (performance.now() - began > RUN_MS_MAX) throw new Error(`it took ${performance.now() - began} ms`)
    return read
  } catch (error) {
    throw new Error(`seed ${seed}: ${kind} in ${path}: ${error instanceof Error ? error.stack : error}`, {
      cause: error,
    })
  }
}

const memory = () => process.resourceUsage().maxRSS * 1024

describe('damaged files of a log', () => {
  it('give a typed error or exactly the records that were written, where the log was closed', async () => {
    const base = await fuzzBase('closed')
    let readable = 0
    for (let seed = FIRST_SEED; seed < FIRST_SEED + damages(200); seed++) {
      const read = await run(seed, base, false)
      if (read) readable++
      if (read && !isDeepStrictEqual(read.batches, base.batches)) throw new Error(`seed ${seed}: wrong records`)
    }
    // Neither all nothing: damage to what can be made again is mended.
    expect(readable / damages(200)).toBeGreaterThan(0.05)
    expect(readable / damages(200)).toBeLessThan(0.9)
  })

  it.each(['sealed', 'cleaned'] as const)(
    'give a typed error or exactly the records that were written, where segments are %s',
    async end => {
      const base = await fuzzBase(end, 700)
      expect(base.disk.paths.filter(path => path.endsWith('.sealed')).length).toBeGreaterThan(2)
      let readable = 0
      for (let seed = FIRST_SEED; seed < FIRST_SEED + damages(150); seed++) {
        const read = await run(seed, base, false)
        if (read) readable++
        if (read && !isDeepStrictEqual(read.batches, base.batches)) throw new Error(`seed ${seed}: wrong records`)
      }
      expect(readable / damages(150)).toBeGreaterThan(0.05)
      expect(readable / damages(150)).toBeLessThan(0.9)
    },
  )

  it('give a typed error or the first of the records that were written, where the process was killed', async () => {
    const base = await fuzzBase('killed')
    for (let seed = FIRST_SEED; seed < FIRST_SEED + damages(100); seed++) {
      const read = await run(seed, base, false)
      if (read && !isDeepStrictEqual(read.batches, base.batches.slice(0, read.batches.length)))
        throw new Error(`seed ${seed}: wrong records`)
    }
  })

  it('give a typed error or records of their contracts, even where every checksum is right', async () => {
    const bases = [
      await fuzzBase('closed'),
      await fuzzBase('killed'),
      await fuzzBase('killed', 100_000),
      await fuzzBase('sealed', 700),
      await fuzzBase('cleaned', 700),
    ]
    const before = memory()
    for (let seed = FIRST_SEED; seed < FIRST_SEED + damages(240); seed++)
      await run(seed, bases[seed % bases.length]!, true)
    expect(memory() - before).toBeLessThan(MEMORY_BYTES_MAX)
  })
})

describe('damaged rows', () => {
  it('are refused, or are rows of their contract', () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + damages(1_200); seed++) {
      const random = new Random(seed)
      const shape = randomObject(random, 2)
      const codec = createRowCodec(describeFields(shape.schema, 'output', 'row'))
      const writer = new ByteWriter()
      codec.encode(writer, shape.value(random))
      const damage = random.pick(Object.values(DAMAGES))
      const bytes = Buffer.from(random.next() < 0.2 ? random32(random) : damage(random, writer.copy()))
      const began = performance.now()
      try {
        const reader = new ByteReader(bytes)
        const row = codec.decode(reader)
        expect(reader.at).toBeLessThanOrEqual(bytes.length)
        codec.encode(new ByteWriter(), row)
      } catch (error) {
        if (!(error instanceof RangeError || error instanceof SyntaxError))
          throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : error}`, { cause: error })
      }
      if (performance.now() - began > RUN_MS_MAX)
        throw new Error(`seed ${seed}: it took ${performance.now() - began} ms`)
    }
  })
})

const random32 = (random: Random) => Uint8Array.from({ length: random.int(64) }, () => random.int(256))
