// Two logs that are asked the same: the embedded one on a simulated disk, and the model. Each step is drawn from a seed.
import { z } from 'zod'
import {
  type AnyRow,
  type Appended,
  type Batch,
  type Contract,
  compileContract,
  type EmbeddedLog,
  isMainstemError,
  type Log,
  type LogBlock,
  type LogReader,
  openEmbeddedLog,
  type RecordSchema,
  type SourceMark,
  type Streams,
} from '../../core/index.ts'
import { batchesIn, batchesOf, mustEqual, rowsOfTables, scannedPositions } from './log-seen.ts'
import { MemoryLog } from './memory-log.ts'
import type { Random } from './random.ts'
import { randomObject, randomSchema, randomText } from './random-schema.ts'
import { SimulatedDisk } from './simulated-disk.ts'

const PATH = '/log'
const SOURCES = ['shop', 'billing', 'stock']
const TOPICS_MAX = 5
const READERS_MAX = 6
const CHAIN_BYTES = 400_000

type Fields = Readonly<Record<string, { schema: z.ZodType; value: (random: Random) => unknown }>>

/** A topic as the application of the moment declares it, and how to make a row of it: the fields of each variant by name. */
interface Declared {
  readonly contract: Contract
  readonly variants: Variants
}

/** One without a name is a contract of one object. */
type Variants = Readonly<Record<string, Fields>>
const PLAIN = ''

interface Tailing {
  model: LogReader
  embedded: LogReader
  readonly modelBlocks: LogBlock[]
  readonly embeddedBlocks: LogBlock[]
}

interface InFlight {
  readonly model: Promise<Appended>
  readonly embedded: Promise<Appended>
}

/** What a call gave: its value, or its error's code. */
async function outcome(call: () => unknown): Promise<unknown> {
  try {
    return await call()
  } catch (error) {
    if (isMainstemError(error)) return error.code
    throw error
  }
}

/** Something that shows an embedded log. */
export type LogView = (log: EmbeddedLog, disk: SimulatedDisk, random: Random) => Promise<EmbeddedLog>

export class LogPair {
  readonly #random: Random
  readonly #view: LogView
  readonly #segmentBytesMax: number
  #now = 1_000
  #disk = new SimulatedDisk()
  #model: MemoryLog
  #embedded!: EmbeddedLog
  readonly #seal: boolean
  readonly #compression: 'zstd' | 'none'
  /** With the lesser one, keys are divided into parts. */
  readonly #cleanMemoryBytesMax: number
  readonly #declared = new Map<string, Declared>()
  #tailing: Tailing[] = []
  #inFlight: InFlight[] = []
  #chains = 1

  private constructor(random: Random, view: LogView) {
    this.#random = random
    this.#view = view
    this.#segmentBytesMax = 200 + random.int(4_000)
    this.#seal = random.next() < 0.8
    this.#compression = random.pick(['zstd', 'none'])
    this.#cleanMemoryBytesMax = random.pick([100, 1 << 27])
    this.#model = new MemoryLog(() => this.#now)
  }

  /** @param view by which the embedded log is seen; default: itself */
  static async open(random: Random, view: LogView = async log => log): Promise<LogPair> {
    const pair = new LogPair(random, view)
    await pair.#openEmbedded()
    await pair.#declare()
    return pair
  }

  async #openEmbedded(): Promise<void> {
    const log = await openEmbeddedLog({
      path: PATH,
      fileSystem: this.#disk,
      segmentBytesMax: this.#segmentBytesMax,
      clock: () => this.#now,
      seal: this.#seal,
      compression: this.#compression,
      cleanMemoryBytesMax: this.#cleanMemoryBytesMax,
    })
    this.#embedded = await this.#view(log, this.#disk, this.#random)
  }

  async step(): Promise<void> {
    const random = this.#random
    const draw = random.int(100)
    if (draw < 41) await this.#append()
    else if (draw < 46) await this.#clean()
    else if (draw < 50) await this.#sealed()
    else if (draw < 53) await this.#streams()
    else if (draw < 56) await this.#heartbeat()
    else if (draw < 61) await this.#declare()
    else if (draw < 67) await this.#evolve()
    else if (draw < 75) await this.#read()
    else if (draw < 82) await this.#openReader()
    else if (draw < 90) await this.#drainReaders()
    else if (draw < 95) await this.#settle()
    else if (draw < 98) await this.#restart()
    else await this.#crash()
  }

  /** Compares all that is left; gives how many batches the logs have. */
  async finish(): Promise<number> {
    await this.#drainReaders()
    await this.#streams()
    await this.#restart()
    await this.#sealed()
    await this.#streams()
    const batches = await batchesOf(this.#embedded)
    mustEqual('all of the log', await batchesOf(this.#model), batches)
    await this.#embedded.close()
    await this.#model.close()
    return batches.length
  }

  /** A new topic, of a random shape or a union of such. */
  async #declare(): Promise<void> {
    if (this.#declared.size >= TOPICS_MAX) return
    const random = this.#random
    const name = `topic${this.#declared.size}`
    if (random.next() < 0.4) {
      const names = ['Held', 'Booked', "can't"].slice(0, 1 + random.int(3))
      return this.#register(name, 'topic', Object.fromEntries(names.map(each => [each, this.#randomFields(each)])))
    }
    await this.#register(name, random.next() < 0.5 ? 'table' : 'topic', { [PLAIN]: this.#randomFields(PLAIN) })
  }

  #randomFields(variant: string): Fields {
    const shape = randomObject(this.#random, 2)
    const key = { schema: z.int(), value: (of: Random) => of.int(50) }
    const filler = { schema: z.string(), value: (of: Random) => 'f'.repeat(of.int(80)) }
    const type = { schema: z.literal(variant), value: () => variant }
    return { ...objectFields(shape), key, filler, ...(variant === PLAIN ? {} : { type }) }
  }

  /** A known topic, a variant of it changed, gone or added; what stored records cannot be read by, both must refuse. */
  async #evolve(): Promise<void> {
    const random = this.#random
    const { contract, variants } = random.pick([...this.#declared.values()])
    const names = Object.keys(variants)
    const variant = random.pick(names)
    const evolved = { ...variants, [variant]: this.#evolved(variants[variant]!) }
    if (variant !== PLAIN) {
      if (random.next() < 0.1) delete evolved[random.pick(names)]
      const added = `Added${random.int(3)}`
      if (random.next() < 0.3) evolved[added] ??= this.#randomFields(added)
    }
    if (Object.keys(evolved).length > 0) await this.#register(contract.name, contract.kind, evolved)
  }

  /** Fields more, less, in another order, or of another type. */
  #evolved({ key, type, ...rest }: Fields): Fields {
    const random = this.#random
    const entries = Object.entries(rest).filter(() => random.next() < 0.9)
    if (random.next() < 0.3) entries.reverse()
    const name = `added${random.int(4)}`
    const added = randomSchema(random, 1)
    const how = random.int(4)
    const value = added.value(random)
    const schema =
      how === 0
        ? added.schema.nullable()
        : how === 1
          ? added.schema.optional()
          : how === 2 && value !== undefined
            ? added.schema.default(value as never)
            : added.schema
    const fields = { key: key!, ...Object.fromEntries(entries), [name]: { schema, value: added.value } }
    return type ? { ...fields, type } : fields
  }

  async #register(name: string, kind: Contract['kind'], variants: Variants): Promise<void> {
    const objects = Object.values(variants).map(fields =>
      z.object(Object.fromEntries(Object.entries(fields).map(([field, { schema }]) => [field, schema]))),
    )
    const schema: RecordSchema =
      PLAIN in variants ? objects[0]! : z.discriminatedUnion('type', objects as unknown as [z.ZodObject])
    const contract = compileContract(name, kind, schema, 'key')
    const changed = [this.#model, this.#embedded].map(log => log.contractChanged(contract))
    mustEqual(`contractChanged of ${name}`, changed[0], changed[1])
    const register = (log: Log) => outcome(async () => (await log.topic(contract)).id)
    const model = await register(this.#model)
    mustEqual(`topic ${name}`, model, await register(this.#embedded))
    if (typeof model === 'number') this.#declared.set(name, { contract, variants })
  }

  async #append(): Promise<void> {
    const random = this.#random
    const batches = [this.#model.batch(), this.#embedded.batch()] as const
    const chain = this.#chains > 0 && random.next() < 0.02
    if (chain) this.#chains--
    const count = chain ? 4 : random.int(7)
    for (let n = 0; n < count; n++) await this.#record(batches, chain ? 'c'.repeat(CHAIN_BYTES) : undefined)
    mustEqual('count of a batch', batches[0].count, batches[1].count)
    this.#commit(batches, random.next() < 0.6 ? this.#randomMark() : undefined)
    // Some are waited for, some are in flight together.
    if (random.next() < 0.5) await this.#settle()
  }

  async #record(batches: readonly [Batch, Batch], filler: string | undefined): Promise<void> {
    const random = this.#random
    const { contract, variants } = random.pick([...this.#declared.values()])
    const row = (): AnyRow =>
      Object.fromEntries(
        Object.entries(random.pick(Object.values(variants))).map(([name, { value }]) => [
          name,
          name === 'filler' && filler ? filler : value(random),
        ]),
      )
    const refused = random.next() < 0.04
    const before = row()
    const after = refused
      ? { ...row(), ...random.pick([{ key: 'not a number' }, { key: null, type: 'Unknown' }]) }
      : row()
    const op = random.int(contract.kind === 'topic' ? 2 : 5)
    const call = (log: Log, batch: Batch) =>
      outcome(() => {
        const topic = log.findTopic(contract.name)!
        if (op === 0) batch.parked(topic, { op: 'insert', key: String(before['key']), raw: { a: null }, error: 'no' })
        else if (contract.kind === 'topic') batch.event(topic, after)
        else if (op === 1) batch.insert(topic, after)
        else if (op === 2) batch.delete(topic, after)
        else batch.update(topic, before, after)
      })
    const model = await call(this.#model, batches[0])
    mustEqual('a record', model, await call(this.#embedded, batches[1]))
  }

  async #heartbeat(): Promise<void> {
    this.#commit([this.#model.batch(), this.#embedded.batch()], this.#randomMark())
  }

  #randomMark(): SourceMark {
    const random = this.#random
    return {
      source: random.pick(SOURCES),
      position: `0/${random.int(1e9).toString(16)}`,
      ...(random.next() < 0.5 ? { transaction: randomText(random) } : {}),
      ...(random.next() < 0.5 ? { commitTimeUs: random.int(2 ** 50) } : {}),
      ...(random.next() < 0.3 ? { snapshot: true } : {}),
    }
  }

  #commit([model, embedded]: readonly [Batch, Batch], mark: SourceMark | undefined): void {
    this.#inFlight.push({ model: model.commit(mark), embedded: embedded.commit(mark) })
  }

  /** Waits for what is in flight; then both must stand at the same place. */
  async #settle(): Promise<void> {
    for (const { model, embedded } of this.#inFlight.splice(0)) mustEqual('a commit', await model, await embedded)
    mustEqual('the end', this.#model.end, this.#embedded.end)
    mustEqual('the end of the status', this.#model.end, this.#embedded.status().end)
    for (const source of SOURCES)
      mustEqual(`the mark of ${source}`, this.#model.mark(source), this.#embedded.mark(source))
    // Time passes, now and then backwards: only between commits, as both read it when they write.
    this.#now += this.#random.int(20) - 4
  }

  async #read(): Promise<void> {
    await this.#settle()
    const after = this.#random.int(this.#model.end + 3)
    mustEqual(`all after ${after}`, await batchesOf(this.#model, after), await batchesOf(this.#embedded, after))
  }

  /** From here on most of the log is in columns; readers that are open stay. */
  async #sealed(): Promise<void> {
    await this.#embedded.sealed()
    await this.#read()
  }

  /** Removes history from both, whoever reads them meanwhile. */
  async #clean(): Promise<void> {
    await this.#settle()
    const random = this.#random
    const asked = (kind: Contract['kind']) =>
      Object.fromEntries(
        [...this.#declared.values()]
          .filter(({ contract }) => contract.kind === kind && random.next() < 0.7)
          .map(({ contract: { name } }) => [
            name,
            random.next() < 0.6 ? Number.POSITIVE_INFINITY : random.int(this.#model.end + 2),
          ]),
      )
    const request = {
      trim: asked('topic'),
      compact: asked('table'),
      ...(random.next() < 0.3 ? { to: random.int(this.#model.end + 2) } : {}),
    }
    const rows = await rowsOfTables(this.#embedded)
    const report = await this.#embedded.clean(request)
    if (report.to === 0) return
    const { recordsBefore, recordsAfter } = await this.#model.clean({ ...request, to: report.to })
    const what = `a cleaning ${JSON.stringify(request)} up to ${report.to}`
    mustEqual(what, [recordsBefore, recordsAfter], [report.recordsBefore, report.recordsAfter])
    const [model, embedded] = [this.#model.base, this.#embedded.base].map(({ generation: _, ...base }) => base)
    mustEqual(`the base after ${what}`, model, embedded)
    mustEqual(`the rows of tables after ${what}`, rows, await rowsOfTables(this.#embedded))
    mustEqual(`all after ${what}`, await batchesOf(this.#model), await batchesOf(this.#embedded))
    await this.#scan()
  }

  /** What scans find of each topic, from a place on. */
  async #scan(): Promise<void> {
    const from = 1 + this.#random.int(this.#model.end + 1)
    const batches = await batchesOf(this.#model, from - 1)
    for (const { contract } of this.#declared.values()) {
      const known = batches.flatMap(({ records }) =>
        records.filter(({ topic, op }) => topic === contract.name && op !== 'parked').map(({ position }) => position),
      )
      const found = await scannedPositions(this.#embedded, contract.name, from)
      mustEqual(`a scan of ${contract.name} from ${from}`, known, found)
    }
  }

  async #streams(): Promise<void> {
    await this.#settle()
    const random = this.#random
    const names = [...this.#declared.values()].filter(({ contract: { kind } }) => kind === 'topic')
    for (const { contract } of names) {
      const key = random.int(50)
      const options = {
        backwards: random.next() < 0.5,
        ...(random.next() < 0.5 ? { from: random.int(6) } : {}),
        ...(random.next() < 0.5 ? { limit: random.int(4) } : {}),
      }
      const events = (log: Log & Streams) =>
        outcome(async () => {
          const found: unknown[] = []
          for await (const { topic, ...rest } of log.stream(log.findTopic(contract.name)!, key, options))
            found.push({ topic: topic.name, ...rest })
          return found
        })
      const what = `${contract.name} ${key} ${JSON.stringify(options)}`
      mustEqual(`the stream ${what}`, await events(this.#model), await events(this.#embedded))
      const last = (log: Log & Streams) => log.lastVersion(log.findTopic(contract.name)!, key)
      mustEqual(`the last version of ${what}`, await last(this.#model), await last(this.#embedded))
    }
  }

  async #openReader(): Promise<void> {
    if (this.#tailing.length >= READERS_MAX) {
      const [oldest] = this.#tailing.splice(0, 1)
      for (const reader of [oldest?.model, oldest?.embedded]) reader?.close()
    }
    const after = this.#random.int(this.#model.end + 1)
    const [model, embedded] = [this.#model.read(after), this.#embedded.read(after)]
    this.#tailing.push({ model, embedded, modelBlocks: [], embeddedBlocks: [] })
    // Not settled: this reader goes on while commits are in flight.
    await this.#pull(embedded, this.#tailing.at(-1)!.embeddedBlocks, 1)
  }

  async #pull(reader: LogReader, into: LogBlock[], times: number): Promise<void> {
    for (let n = 0; n < times; n++) {
      const blocks = await reader.ready()
      if (blocks.length === 0) break
      into.push(...blocks)
    }
  }

  async #drainReaders(): Promise<void> {
    await this.#settle()
    await Promise.all(
      this.#tailing.flatMap(({ model, embedded, modelBlocks, embeddedBlocks }) => [
        this.#pull(model, modelBlocks, Number.POSITIVE_INFINITY),
        this.#pull(embedded, embeddedBlocks, Number.POSITIVE_INFINITY),
      ]),
    )
    for (const { model, embedded, modelBlocks, embeddedBlocks } of this.#tailing) {
      mustEqual('a reader’s position', model.position, embedded.position)
      // Blocks kept from long ago are read now, by the contract of now.
      mustEqual('what a reader saw', batchesIn(modelBlocks), batchesIn(embeddedBlocks))
      modelBlocks.length = 0
      embeddedBlocks.length = 0
    }
  }

  async #restart(): Promise<void> {
    if (this.#random.next() < 0.5) await this.#embedded.sealed()
    // Closing writes what was committed: nothing is waited for.
    await this.#embedded.close()
    this.#model = await this.#model.reopen()
    this.#tailing = []
    await this.#openEmbedded()
    await this.#settle()
    await this.#read()
  }

  /** The power goes: what was acknowledged stays, of the rest any whole batches from the front. */
  async #crash(): Promise<void> {
    const acknowledged = this.#model.batches
    const random = this.#random
    this.#model.settle()
    const disk = this.#disk.crash(random.next() < 0.5 ? random : undefined)
    await this.#embedded.close()
    for (const { model, embedded } of this.#inFlight.splice(0)) await Promise.all([model, embedded])
    this.#disk = disk
    await this.#openEmbedded()
    const left = (await batchesOf(this.#embedded)).length
    if (left < acknowledged) throw new Error(`${left} batches are left of ${acknowledged} that were acknowledged`)
    this.#model = this.#model.crash(left)
    this.#tailing = []
    await this.#read()
  }
}

function objectFields(shape: ReturnType<typeof randomObject>): Fields {
  return Object.fromEntries(
    Object.entries(shape.schema.shape).map(([name, schema]) => [
      name,
      { schema: schema as z.ZodType, value: (random: Random) => shape.value(random)[name] },
    ]),
  )
}
