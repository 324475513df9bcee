// Appends, sealing and cleanings run while several follow, each a little behind, and readers of theirs are anywhere. Whatever a reader
// gives, from its beginning to the log's end, must be what a reader of the log itself gives that was opened on the same base:
// batches, marks, append times, positions. In the end no file is left that the log does not have. The seed is in the test's
// name: `SEED=17 npm test -- interleaving` runs it again.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  compileContract,
  type EmbeddedLog,
  type FollowedLog,
  type LogBlock,
  type LogReader,
  openEmbeddedLog,
} from '../../../../core/index.ts'
import { FIRST_SEED, modelSeeds } from '../../../support/campaign.ts'
import { follow, randomly } from '../../../support/following.ts'
import { batchesIn, mustEqual } from '../../../support/log-seen.ts'
import { Random } from '../../../support/random.ts'
import { SimulatedDisk } from '../../../support/simulated-disk.ts'

const rows = compileContract('rows', 'table', z.object({ key: z.int(), text: z.string() }), 'key')
const events = compileContract('events', 'topic', z.object({ key: z.int(), text: z.string() }), 'key')
const grown = compileContract('events', 'topic', events.schema.extend({ note: z.string().default('none') }), 'key')

const STEPS = 250
const FOLLOWERS = 3
const READERS_MAX = 8
const SETTLE_STEPS_MAX = 10_000

interface Tailing {
  readonly followed: FollowedLog
  readonly reader: LogReader
  readonly after: number
  /** Of the base when it was opened. */
  readonly generation: number
  readonly blocks: LogBlock[]
}

class Run {
  readonly #random: Random
  readonly #disk = new SimulatedDisk()
  #log!: EmbeddedLog
  /** Of the log itself, by generation of its base: opened when it had that, and read in the end. */
  readonly #expected = new Map<number, LogReader>()
  /** What those gave. */
  readonly #read = new Map<number, ReturnType<typeof batchesIn>>()
  readonly #followers: FollowedLog[] = []
  #tailing: Tailing[] = []
  readonly #commits: Promise<unknown>[] = []
  #cleaning: Promise<unknown> = Promise.resolve()
  #now = 1_000
  compared = 0

  private constructor(seed: number) {
    this.#random = new Random(seed)
  }

  static async open(seed: number): Promise<Run> {
    const run = new Run(seed)
    run.#log = await openEmbeddedLog({
      path: '/log',
      fileSystem: run.#disk,
      segmentBytesMax: run.#random.pick([300, 1_000, 2_000, 1_000_000]),
      clock: () => run.#now,
      seal: run.#random.next() < 0.8,
    })
    await run.#log.topic(rows)
    await run.#log.topic(events)
    run.#expected.set(0, run.#log.read(0))
    for (let n = 0; n < FOLLOWERS; n++) await run.#follow()
    return run
  }

  async #follow(): Promise<void> {
    this.#followers.push(await follow(this.#log, this.#disk, randomly(new Random(this.#random.int(1e9)))))
  }

  async step(): Promise<void> {
    const random = this.#random
    const draw = random.int(100)
    if (draw < 35) this.#append()
    else if (draw < 40) this.#commits.push(this.#log.batch().commit({ source: 'shop', position: `${random.int(1e6)}` }))
    else if (draw < 45) await Promise.all(this.#commits.splice(0))
    else if (draw < 50) await this.#log.sealed()
    else if (draw < 54) this.#clean()
    else if (draw < 65) this.#openReader()
    else if (draw < 92) await this.#readSome()
    else if (draw < 95) this.#closeReader()
    else if (draw < 97) await this.#followAnew()
    else if (draw < 98) await this.#log.topic(grown)
    else if (draw < 99) await this.#outrun()
    else await new Promise(resolve => setImmediate(resolve))
    this.#now += random.int(5)
  }

  #append(): void {
    const random = this.#random
    const batch = this.#log.batch()
    const long = random.next() < 0.03
    for (let n = long ? 3 : random.int(5); n >= 0; n--) {
      const row = { key: random.int(6), text: 't'.repeat(long ? 40_000 : random.int(60)) }
      if (random.next() < 0.5) batch.insert(this.#log.findTopic('rows')!, row)
      else batch.event(this.#log.findTopic('events')!, { ...row, note: 'noted' })
    }
    this.#commits.push(
      batch.commit(random.next() < 0.5 ? { source: 'billing', position: `${random.int(1e6)}` } : undefined),
    )
  }

  /** Those who are slow do not hear of some segments before a cleaning replaces them. */
  async #outrun(): Promise<void> {
    for (let n = 0; n < 40; n++) {
      this.#append()
      await this.#commits.at(-1)
    }
    this.#clean()
    await this.#cleaning
  }

  #clean(): void {
    const upTo = () => this.#random.int(this.#log.end + 1)
    const request = { trim: { events: upTo() }, compact: { rows: upTo() } }
    this.#cleaning = this.#cleaning
      .then(() => this.#log.clean(request))
      .then(({ generation }) => {
        // In the turn in which it became the log's: nothing was appended or cleaned since that the reader would miss.
        if (!this.#expected.has(generation)) this.#expected.set(generation, this.#log.read(0))
      })
  }

  #openReader(): void {
    if (this.#tailing.length >= READERS_MAX) return
    const followed = this.#random.pick(this.#followers)
    this.#tail(followed, this.#random.next() < 0.5 ? 0 : this.#random.int(followed.end + 2))
  }

  #tail(followed: FollowedLog, after: number): void {
    const reader = followed.read(after)
    this.#tailing.push({ followed, reader, after, generation: reader.generation, blocks: [] })
  }

  async #readSome(): Promise<void> {
    if (this.#tailing.length === 0) return
    const { reader, blocks } = this.#random.pick(this.#tailing)
    blocks.push(...(await reader.ready()))
  }

  #closeReader(): void {
    if (this.#tailing.length === 0) return
    const [closed] = this.#tailing.splice(this.#random.int(this.#tailing.length), 1)
    closed?.reader.close()
  }

  async #followAnew(): Promise<void> {
    const [left] = this.#followers.splice(this.#random.int(this.#followers.length), 1)
    await left?.close()
    this.#tailing = this.#tailing.filter(({ followed }) => followed !== left)
    await this.#follow()
  }

  async finish(): Promise<void> {
    await Promise.all(this.#commits)
    await this.#cleaning
    for (const followed of this.#followers) {
      await followed.refresh()
      mustEqual('the end', this.#log.end, followed.end)
      mustEqual('the base', this.#log.base, followed.base)
      this.#tail(followed, 0)
    }
    for (const each of this.#tailing) await this.#compare(each)
    await this.#onlyItsFilesAreLeft()
  }

  async #compare({ reader, after, generation, blocks }: Tailing): Promise<void> {
    blocks.push(...(await allOf(reader)))
    const expected = this.#expected.get(generation)
    if (!expected) throw new Error(`a reader is of generation ${generation}, which the log never had`)
    const all = await this.#all(generation, expected)
    mustEqual(
      `what a reader of generation ${generation} after ${after} saw`,
      seenAfter(all, after),
      seenAfter(batchesIn(blocks), after),
    )
    this.compared += blocks.length
  }

  async #all(generation: number, reader: LogReader): Promise<ReturnType<typeof batchesIn>> {
    const known = this.#read.get(generation) ?? batchesIn(await allOf(reader))
    this.#read.set(generation, known)
    return known
  }

  async #onlyItsFilesAreLeft(): Promise<void> {
    for (const { reader } of this.#tailing) reader.close()
    for (const reader of this.#expected.values()) reader.close()
    await this.#log.sealed()
    const segments = () => this.#disk.paths.filter(path => /\.(segment|sealed)$/.test(path))
    // What is removed when the last has let go is removed a few turns later.
    for (let n = 0; segments().length > this.#log.status().segments; n++) {
      if (n > SETTLE_STEPS_MAX) throw new Error(`files are left: ${segments().join(', ')}`)
      await new Promise(resolve => setImmediate(resolve))
    }
    await this.#log.close()
    await Promise.all(this.#followers.map(followed => followed.closed))
    mustEqual('open files', 0, this.#disk.filesOpen)
  }
}

async function allOf(reader: LogReader): Promise<LogBlock[]> {
  const blocks: LogBlock[] = []
  for (let more = await reader.ready(); more.length > 0; more = await reader.ready()) blocks.push(...more)
  return blocks
}

/** Records after a position, and what stands with them; heartbeats at the position itself are left out. */
const seenAfter = (batches: ReturnType<typeof batchesIn>, after: number) =>
  batches.flatMap(({ first, mark, appendTimeMs, records }) => {
    const left = records.filter(({ position }) => position > after)
    if (records.length === 0) return first > after + 1 ? [{ first, mark, appendTimeMs, records }] : []
    return left.length > 0 ? [{ first: left[0]!.position, mark, appendTimeMs, records: left }] : []
  })

const seeds = Array.from({ length: modelSeeds(20) }, (_, n) => FIRST_SEED + n)

describe('those who follow a log while it is appended to, sealed and cleaned', () => {
  it.each(seeds)('see what its own readers see, and keep no file longer, seed %i', async seed => {
    const run = await Run.open(seed)
    for (let step = 0; step < STEPS; step++) await run.step()
    await run.finish()
    expect(run.compared).toBeGreaterThan(0)
  })
})
