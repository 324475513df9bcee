// The whole engine from a seed: transactions, reads of now and of the past, checkpoints, restarts with other code, failing and full
// disks, and crashes at any moment, all interleaved as the seed has it. At the end every answer that was ever given is compared
// with what the log, folded anew from its beginning, is at that position. Everything that happened is one trace.
import { isDeepStrictEqual } from 'node:util'
import { type AnyRow, emitterOf } from '../../core/index.ts'
import { openEngine, partsOf, type RowRequest } from '../../projections/index.ts'
import { batchesOf } from '../support/log-batches.ts'
import { Random } from '../support/random.ts'
import { SimulatedDisk, systemError } from '../support/simulated-disk.ts'
import { type Simulated, simulated } from './applications.ts'
import { NEVER_MS, Process } from './process.ts'
import { recompute } from './recomputed.ts'

const STEPS = 400
const IN_FLIGHT_MAX = 6
/** One in so many steps, for each kind of thing that happens. */
const ODDS = { transaction: 4, read: 5, past: 40, rows: 60, checkpoint: 20, fault: 60, end: 90 }

/** What an engine said of rows at a position. */
interface Answer {
  readonly position: number
  readonly requests: readonly RowRequest[]
  readonly rows: readonly (AnyRow | undefined)[]
  readonly of: string
}

export interface Outcome {
  /** Everything that happened, in order. */
  readonly trace: readonly string[]
  readonly answers: number
  readonly transactions: number
  /** How processes ended before the last one. */
  readonly ends: readonly string[]
}

/** Answers that are not: a process that ends or folds anew. */
const NO_ANSWER: ReadonlySet<string> = new Set([
  'VIEW_REBUILDING',
  'SHUTTING_DOWN',
  'LOG_CLOSED',
  'AT_GONE',
  'AT_AHEAD',
])

/** @param onEvent called with everything that happens: what it does to the machine's own clock may not change what comes of the seed */
export async function simulate(seed: number, onEvent: () => void = () => {}): Promise<Outcome> {
  const simulation = new Simulation(seed, onEvent)
  try {
    return await simulation.run()
  } catch (error) {
    throw new Error(`SEED=${seed} npm run test:sim runs it again`, { cause: error })
  }
}

class Simulation {
  readonly #random: Random
  readonly #simulated: Simulated
  #disk = new SimulatedDisk()
  #process: Process | undefined
  readonly #trace: string[] = []
  readonly #answers: Answer[] = []
  readonly #ends: string[] = []
  #fingerprint = 1
  #transactions = 0
  #nowMs = 1_700_000_000_000
  /** Of the process that runs. */
  #inFlight = new Set<Promise<unknown>>()
  #lastPosition = 0
  #failure: unknown
  /** Up to here the log was durable when somebody was told so: no crash may take it. */
  #acknowledged = 0

  readonly #onEvent: () => void

  constructor(seed: number, onEvent: () => void) {
    this.#onEvent = onEvent
    this.#random = new Random(seed)
    this.#simulated = simulated(this.#random)
  }

  #note = (event: string): void => {
    this.#trace.push(event)
    this.#onEvent()
  }

  async run(): Promise<Outcome> {
    await this.#start()
    for (let step = 0; step < STEPS; step++) {
      await this.#step()
      if (this.#failure !== undefined) throw this.#failure
    }
    await this.#finish()
    return {
      trace: this.#trace,
      answers: this.#answers.length,
      transactions: this.#transactions,
      ends: this.#ends,
    }
  }

  /** @param shards default: as the seed has it */
  async #start(shards = this.#random.pick([1, 1, 1, 2, 3])): Promise<void> {
    this.#nowMs += 1_000
    this.#process = await Process.start({
      random: this.#random,
      disk: this.#disk,
      simulated: this.#simulated,
      shards,
      fingerprint: `code ${this.#fingerprint}`,
      nowMs: this.#nowMs,
      trace: this.#note,
    })
    this.#inFlight = new Set()
    this.#lastPosition = 0
    const { end } = this.#process.log
    if (end < this.#acknowledged) throw new Error(`position ${this.#acknowledged} was durable, the log ends at ${end}`)
    this.#note(`start ${end}, shards ${shards}`)
  }

  async #step(): Promise<void> {
    const process = this.#process!
    const happens = (what: keyof typeof ODDS) => this.#random.int(ODDS[what]) === 0
    if (happens('transaction') && this.#inFlight.size < IN_FLIGHT_MAX) this.#transact(process)
    if (happens('read')) this.#read(process)
    if (happens('past')) this.#readPast(process)
    if (happens('rows')) this.#readRows(process)
    if (happens('checkpoint')) this.#watch(process.engine.checkpoint(), process, ['CHECKPOINT_FAILED'])
    if (happens('fault')) this.#failSoon()
    if (happens('end')) return this.#end(process)
    await process.turns.step()
  }

  /** Lets a promise run; whatever it says but what is expected of it ends the simulation. */
  #watch(work: Promise<unknown>, process: Process, expected: readonly string[] = []): void {
    work.catch(error => {
      if (process !== this.#process) return
      const code = error instanceof Error && 'code' in error ? String(error.code) : ''
      this.#note(`refused ${code}`)
      if (!expected.includes(code) && !NO_ANSWER.has(code)) this.#failure ??= error
    })
  }

  #transact(process: Process): void {
    const inFlight = this.#inFlight
    const done = process.workload.transaction().then(() => {
      inFlight.delete(done)
      if (process !== this.#process) return
      this.#transactions++
      this.#acknowledged = process.log.end
      this.#note(`durable ${process.log.end}`)
    })
    inFlight.add(done)
    this.#watch(done, process)
  }

  #read(process: Process): void {
    const { engine } = process
    const requests = this.#requests()
    const least = this.#lastPosition
    const work = (async () => {
      const answer = await engine.read(requests)
      if (process !== this.#process) return
      if (answer.position < least) throw new Error(`an answer of ${answer.position} after one of ${least}`)
      this.#lastPosition = Math.max(this.#lastPosition, answer.position)
      this.#take('now', answer.position, requests, answer.rows)
    })()
    this.#watch(work, process)
  }

  #readPast(process: Process): void {
    const { engine } = process
    const requests = this.#requests()
    const position = this.#random.int(engine.position + 1)
    const work = (async () => {
      const answer = await engine.past.read(requests, { position })
      if (process !== this.#process) return
      if (answer.position > position) throw new Error(`the past at ${position} answered as of ${answer.position}`)
      this.#take('past', answer.position, requests, answer.rows)
    })()
    this.#watch(work, process)
  }

  /** A whole view at one cut, while folding goes on: of now, or of the past. */
  #readRows(process: Process): void {
    const { engine } = process
    const { name } = this.#random.pick(this.#simulated.app.views)
    const at = this.#random.next() < 0.5 ? undefined : { position: this.#random.int(engine.position + 1) }
    const work = (async () => {
      const exported = await engine.past.rows(name, at)
      const rows = new Map<string, AnyRow>()
      for await (const batch of exported) for (const { key, value } of batch) rows.set(JSON.stringify(key), value)
      if (process !== this.#process) return
      if (rows.size !== exported.rows) throw new Error(`an export of ${exported.rows} rows has ${rows.size}`)
      const requests = this.#simulated.rows.filter(({ view }) => view === name)
      const found = requests.map(({ key }) => rows.get(JSON.stringify(key)))
      this.#take('export', exported.position, requests, found)
    })()
    this.#watch(work, process)
  }

  /** All rows of some of the views. */
  #requests(): readonly RowRequest[] {
    const views = new Set(this.#simulated.app.views.map(({ name }) => name).filter(() => this.#random.next() < 0.5))
    return this.#simulated.rows.filter(({ view }) => views.has(view))
  }

  #take(of: string, position: number, requests: readonly RowRequest[], rows: readonly (AnyRow | undefined)[]): void {
    const copy = structuredClone(rows)
    this.#answers.push({ position, requests, rows: copy, of })
    this.#note(`${of} ${position} ${JSON.stringify(copy)}`)
    const byView = Map.groupBy(copy.keys(), n => requests[n]!.view)
    const grouped = new Map([...byView].map(([view, places]) => [view, [...places].map(n => copy[n])]))
    const broken = this.#simulated.broken(grouped)
    if (broken !== undefined) throw new Error(`torn at ${position}: ${broken}`)
  }

  /** One of the next operations on the checkpoints' folder fails. */
  #failSoon(): void {
    const disk = this.#disk
    const code = this.#random.pick(['EIO', 'ENOSPC'])
    let left = this.#random.int(12)
    disk.fault = (_, path) => {
      if (!path.startsWith('/views') || left-- > 0) return undefined
      disk.fault = () => undefined
      this.#note(`fails ${path}`)
      return systemError(code)
    }
  }

  /** The process ends: by itself, killed, or with the machine. The next one finds what that left of the disk. */
  async #end(
    process: Process,
    how = this.#random.pick(['stop', 'kill', 'crash', 'crash']),
    shards?: number,
  ): Promise<void> {
    this.#ends.push(how)
    this.#note(how)
    this.#disk.fault = () => undefined
    this.#process = undefined
    if (how === 'stop') {
      await process.during(process.engine.stop())
      await process.during(process.log.close())
      await process.stop()
    } else {
      const left = how === 'kill' ? this.#disk.kill() : this.#disk.crash(this.#random)
      await process.stop()
      this.#disk = left
    }
    if (this.#random.next() < 0.2) this.#fingerprint++
    await this.#start(shards)
  }

  /** Comes to rest, and compares everything. */
  async #finish(): Promise<void> {
    if (this.#process!.options.shards > 1) await this.#end(this.#process!, 'stop', 1)
    const process = this.#process!
    const { log, engine } = process
    this.#disk.fault = () => undefined
    await process.during(Promise.all(this.#inFlight))
    // One that was under way is of an earlier cut, and what is published is folded, and may be published again.
    do {
      await process.during(engine.waitFor(log.end, new AbortController().signal))
      await process.during(engine.checkpoint())
    } while (engine.position < log.end || engine.status().checkpointPosition < log.end)
    if (this.#failure !== undefined) throw this.#failure
    const last = await process.during(Promise.resolve(engine.read(this.#simulated.rows)))
    this.#take('last', last.position, this.#simulated.rows, last.rows)
    process.turns.free()
    await this.#compare(process)
    await this.#compareRestarted(process)
    await process.stop()
  }

  async #compare({ log }: Process): Promise<void> {
    const byPosition = Map.groupBy(this.#answers, answer => answer.position)
    const { emitted } = await recompute(log, this.#simulated.app, (position, read) => {
      for (const { requests, rows, of } of byPosition.get(position) ?? []) {
        for (const [n, request] of requests.entries()) {
          const row = read(request)
          if (isDeepStrictEqual(rows[n], row)) continue
          const [said, is] = [JSON.stringify(rows[n]), JSON.stringify(row)]
          throw new Error(
            `${of} at ${position}, ${request.view} ${JSON.stringify(request.key)}: answered ${said}, is ${is}`,
          )
        }
      }
      byPosition.delete(position)
    })
    if (byPosition.size > 0) throw new Error(`answers at ${[...byPosition.keys()].join()}, where no transaction ends`)
    const published = new Map<string, AnyRow[]>()
    for (const { mark, records } of await batchesOf(log)) {
      const projection = mark && emitterOf(mark.source)
      if (projection === undefined) continue
      published.set(projection, [...(published.get(projection) ?? []), ...records.map(({ after }) => after!)])
    }
    for (const name of new Set([...published.keys(), ...emitted.keys()])) {
      const [there, wanted] = [published.get(name) ?? [], emitted.get(name) ?? []]
      for (let n = 0; n < Math.max(there.length, wanted.length); n++) {
        if (isDeepStrictEqual(there[n], wanted[n])) continue
        const [is, was] = [JSON.stringify(there[n]), JSON.stringify(wanted[n])]
        throw new Error(
          `event ${n} of ${there.length} that ${name} published is ${is}, of ${wanted.length} emitted ${was}`,
        )
      }
    }
  }

  /** What is on the disk gives the same rows to a process that reads its checkpoints. */
  async #compareRestarted({ log, engine, options }: Process): Promise<void> {
    const { app, rows } = this.#simulated
    const again = await openEngine({
      log,
      parts: partsOf(app),
      path: '/views',
      fs: this.#disk.copy(),
      fingerprint: options.fingerprint,
      checkpointIntervalMs: NEVER_MS,
    })
    await again.waitFor(log.end, new AbortController().signal)
    const [live, loaded] = [await engine.read(rows), again.read(rows)]
    if (!isDeepStrictEqual(loaded.rows, live.rows)) throw new Error('a restart from the last checkpoint has other rows')
    await again.stop()
  }
}
