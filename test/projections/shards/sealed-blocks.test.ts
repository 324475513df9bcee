// Shards in real threads over a sealed log, whose blocks they share: the rows of one shard.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import { contractsOf } from '../../../projections/application.ts'
import { type Engine, openEngine, openShardedEngine, partsOf, startThreadCrew } from '../../../projections/index.ts'
import { nativeModule } from '../../support/native-module.ts'
import { Random } from '../../support/random.ts'

const { default: app } = nativeModule<typeof import('../../support/sealed-app.ts')>('./sealed-app.ts')

/** About 100 bytes each, so that a sealed block has 30,000 of them, and a segment several blocks. */
const EVENTS = 200_000
const EVENTS_PER_BATCH = 1_000
const SEGMENT_BYTES = 7 * 1024 * 1024
const CUSTOMERS = 500
const PAGES = 50

let folder = ''
let log: EmbeddedLog

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-sealed-'))
  log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: SEGMENT_BYTES })
  for (const contract of contractsOf(partsOf(app))) await log.topic(contract)
})

afterEach(async () => {
  await log.close()
  await rm(folder, { recursive: true, force: true })
})

async function append(random: Random): Promise<void> {
  for (let n = 0; n < EVENTS; n += EVENTS_PER_BATCH) {
    const batch = log.batch()
    for (let id = n; id < n + EVENTS_PER_BATCH; id++)
      batch.event(log.findTopic('visits')!, {
        id,
        customer: `customer ${random.int(CUSTOMERS)}`,
        page: random.int(PAGES),
        seconds: random.int(1_000) / 8,
        note: random.next() < 0.3 ? null : `note ${id} ${'of a visit '.repeat(random.int(8))}`,
        words: [`word ${random.int(100)}`, `${id}`],
        total: BigInt(random.int(1_000_000)) * 10_000_000_000_000n,
      })
    await batch.commit()
  }
  await log.sealed()
}

async function rowsOf(engine: Engine) {
  await engine.waitFor(log.end, AbortSignal.timeout(60_000))
  const { rows } = await engine.read([
    ...Array.from({ length: CUSTOMERS }, (_, n) => ({ view: 'customers', key: `customer ${n}` })),
    ...Array.from({ length: PAGES }, (_, key) => ({ view: 'pages', key })),
  ])
  const copies = rows.map(row => row && { ...row, words: [...((row['words'] as string[] | undefined) ?? [])] })
  await engine.stop()
  return copies
}

it.each([2, 3])('%i shards over the same sealed blocks have the rows of one', { timeout: 120_000 }, async count => {
  await append(new Random(count))
  const sealed = (await readdir(join(folder, 'log'))).filter(name => name.endsWith('.sealed'))
  expect(sealed.length).toBeGreaterThan(1)
  const options = (name: string) => ({ log, parts: partsOf(app), path: join(folder, name), fingerprint: 'f' })
  const one = await rowsOf(await openEngine(options('one')))
  expect(one.filter(row => row).length).toBe(CUSTOMERS + PAGES)
  const crew = await startThreadCrew({ count, log, path: join(folder, 'threads'), application: app })
  expect(await rowsOf(await openShardedEngine(options('threads'), crew))).toEqual(one)
})
