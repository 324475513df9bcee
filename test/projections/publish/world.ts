// Projections that publish events, over a log on a simulated disk that can be killed at any moment; and what the log should
// hold of what they published, computed from the log itself.
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  type AnyTopic,
  ByteReader,
  compileContract,
  type EmbeddedLog,
  emitterOf,
  type LogTopic,
  openEmbeddedLog,
  topic,
} from '../../../core/index.ts'
import {
  type Application,
  application,
  type Engine,
  localCrew,
  openEngine,
  openShardedEngine,
  partsOf,
  projection,
  realScheduler,
} from '../../../projections/index.ts'
import { emittedTopic, inOrder } from '../../../projections/publish/emissions.ts'
import { RecordFolder } from '../../../projections/record-folder.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { FoldedView } from '../../../projections/view.ts'
import { connectViews } from '../../../projections/view-graph.ts'
import { batchesOf } from '../../support/log-batches.ts'
import { blocksOf } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

export const payments = topic('payments', {
  key: 'id',
  value: z.object({ id: z.int(), card: z.string(), shared: z.array(z.string()), cents: z.int() }),
})
export const verdicts = topic('verdicts', {
  key: 'card',
  value: z.object({
    by: z.string(),
    payment: z.int(),
    card: z.string(),
    n: z.int(),
    hop: z.int().default(0),
    sum: z.int(),
  }),
})
const moved = topic('moved', {
  key: 'bucket',
  value: z.object({ bucket: z.int(), card: z.string(), cents: z.int(), came: z.boolean(), cards: z.int() }),
})

/** Of a payment none, one or two events for each card that it is of. */
const cards = projection('cards', {
  key: z.string(),
  state: z.object({ card: z.string().nullable(), cents: z.int() }),
  emits: [verdicts],
}).on(
  payments,
  payment => [payment.card, ...payment.shared],
  (card, payment, ctx) => {
    card.card = ctx.key
    card.cents += payment.cents
    for (let n = 0; n < payment.id % 3; n++)
      ctx.emit(verdicts, { by: 'cards', payment: payment.id, card: ctx.key, n, sum: card.cents })
  },
)

/** Folds what another view passes on, and says so for each row that comes and goes. */
const buckets = projection('buckets', { key: z.int(), state: z.object({ cards: z.int() }), emits: [moved] }).on(
  cards,
  card => (card.card === null ? null : card.cents % 4),
  {
    add: (bucket, card, ctx) => {
      bucket.cards++
      ctx.emit(moved, { bucket: ctx.key, card: card.card ?? '', cents: card.cents, came: true, cards: bucket.cards })
    },
    remove: (bucket, card, ctx) => {
      bucket.cards--
      ctx.emit(moved, { bucket: ctx.key, card: card.card ?? '', cents: card.cents, came: false, cards: bucket.cards })
    },
  },
)

/** Folds its own events, and those of another projection. */
const judged = projection('judged', {
  key: z.string(),
  state: z.object({ seen: z.int() }),
  emits: [verdicts],
}).on(verdicts, 'card', (judge, verdict, ctx) => {
  judge.seen++
  if (verdict.hop < 2) ctx.emit(verdicts, { ...verdict, by: 'judged', hop: verdict.hop + 1, sum: judge.seen })
})

export const app = application('fraud', { views: [cards, buckets, judged] })

export class World {
  folder = ''
  disk = new SimulatedDisk()
  engine: Engine | undefined
  #log: EmbeddedLog | undefined
  #topics = new Map<string, LogTopic>()
  #views = 0
  #next = 1

  async begin(): Promise<void> {
    this.folder = await mkdtemp(join(tmpdir(), 'mainstem-publish-'))
    this.disk = new SimulatedDisk()
    this.#views = 0
    this.#next = 1
  }

  get log(): EmbeddedLog {
    if (!this.#log) throw new Error('nothing is open')
    return this.#log
  }

  /** @param shards 0: in this thread alone, without a channel */
  async open(definition: Application = app, fingerprint = 'one', shards = 0): Promise<Engine> {
    const log = await openEmbeddedLog({ path: '/log', fileSystem: this.disk, segmentBytesMax: 64 * 1024 })
    this.#log = log
    const parts = partsOf(definition)
    for (const each of parts.topics as readonly (AnyTopic & { key: unknown })[])
      this.#topics.set(each.name, await log.topic(compileContract(each.name, 'topic', each.value, each.key)))
    const options = { log, parts, path: this.#path(), fingerprint, checkpointIntervalMs: 3_600_000, sliceMs: 0 }
    const crew = { count: shards, path: options.path, log, parts, scheduler: realScheduler, sliceMs: 0 }
    this.engine = await (shards === 0 ? openEngine(options) : openShardedEngine(options, localCrew(crew)))
    return this.engine
  }

  #path(): string {
    return join(this.folder, `views-${this.#views}`)
  }

  /** Appends payments as one batch. */
  pay(random: Random, count: number): Promise<unknown> {
    const batch = this.log.batch()
    const card = () => random.pick(['a', 'b', 'ä', '\u{1f600}', '\uff5e'])
    for (let n = 0; n < count; n++) {
      const shared = Array.from({ length: random.int(3) }, card)
      batch.event(this.#topics.get('payments')!, { id: this.#next++, card: card(), shared, cents: random.int(100) })
    }
    return batch.commit()
  }

  /** Appends payments as the batches in which they were in another log. */
  async payAgain(batches: readonly (readonly AnyRow[])[]): Promise<void> {
    for (const payments of batches) {
      const batch = this.log.batch()
      for (const payment of payments) batch.event(this.#topics.get('payments')!, payment)
      await batch.commit()
    }
  }

  /** All is folded and published, what events were caused by events too. */
  async settle(): Promise<void> {
    const engine = this.engine!
    do {
      await engine.waitFor(this.log.end, AbortSignal.timeout(10_000))
      await engine.checkpoint()
    } while (engine.position < this.log.end)
  }

  /** The machine dies, at this moment: what is on its disks is what the next process finds. */
  async kill(random: Random): Promise<void> {
    const from = this.#path()
    this.#views++
    await mkdir(from, { recursive: true })
    await cp(from, this.#path(), { recursive: true })
    const disk = this.disk.crash(new Random(random.int(2 ** 31)))
    await this.stop()
    this.disk = disk
  }

  async stop(): Promise<void> {
    await this.engine?.stop()
    await this.#log?.close()
    this.engine = this.#log = undefined
  }

  async end(): Promise<void> {
    await this.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}

export const world = new World()

export function useWorld(): void {
  beforeEach(() => world.begin())
  afterEach(() => world.end())
}

/** Payments, batch by batch. */
export const paymentsIn = async (log: EmbeddedLog): Promise<AnyRow[][]> =>
  (await batchesOf(log))
    .filter(({ records }) => records[0]?.topic === 'payments')
    .map(({ records }) => records.map(({ after }) => after!))

/** By projection, what it published, in the order of the log. */
export async function publishedIn(log: EmbeddedLog): Promise<Record<string, AnyRow[]>> {
  const found = new Map<string, AnyRow[]>()
  for (const { mark, records } of await batchesOf(log)) {
    const projection = mark && emitterOf(mark.source)
    if (projection)
      put(
        found,
        projection,
        records.map(({ after }) => after!),
      )
  }
  return Object.fromEntries(found)
}

/** By projection, what it emits when this log is folded once, from its beginning to its end. */
export async function emittedFrom(log: EmbeddedLog, definition: Application): Promise<Record<string, AnyRow[]>> {
  const info = { position: 0, timeMs: 0 }
  const parts = partsOf(definition)
  const memory = new StateMemory()
  const views = parts.projections.map(each => new FoldedView(each, info, memory))
  connectViews(views)
  const folder = new RecordFolder(views, parts, info)
  const found = new Map<string, AnyRow[]>()
  for (const view of views) view.emissions.publishedUpTo = 0
  for (const block of await blocksOf(log)) {
    for (const cursor = block.records(); cursor.next(); ) folder.fold(cursor, 0)
    folder.flush()
    if (!block.last) continue
    folder.endTransaction(block)
    for (const { name, emissions, definition, table } of views) {
      const topics = definition.spec.emits ?? []
      for (const { topic, bytes } of inOrder(emissions.take(), table.keys))
        put(found, name, [emittedTopic(topics[topic]!).codec.decode(new ByteReader(Buffer.from(bytes)))])
    }
  }
  return Object.fromEntries(found)
}

const put = (found: Map<string, AnyRow[]>, name: string, rows: readonly AnyRow[]) =>
  found.set(name, [...(found.get(name) ?? []), ...rows])
