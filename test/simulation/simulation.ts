// The whole engine from a seed: transactions, reads of now and of the past, checkpoints, savepoints and restores, second folds that
// compare, dead letters that are called again, compaction, restarts with other code, failing disks, and crashes at any moment, all
// interleaved as the seed has it. At the end every answer that was ever given is compared
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
import { codeOf, FOLD_FAILURES, NO_ANSWER, REFUSED } from './refusals.ts'

const STEPS = 400
const IN_FLIGHT_MAX = 6
/** One in so many steps, for each kind of thing that happens. */
const ODDS = {
  transaction: 4,
  read: 5,
  past: 40,
  rows: 60,
  checkpoint: 20,
  savepoint: 80,
  fold: 120,
  redrive: 80,
  compact: 60,
  fault: 60,
  end: 90,
}

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
  /** Those that have not been compared. */
  readonly #answers: Answer[] = []
  #answered = 0
  readonly #ends: string[] = []
  #fingerprint = 1
  #transactions = 0
  #nowMs = 1_700_000_000_000
  /** Of the process that runs. */
  #inFlight = new Set<Promise<unknown>>()
  #lastPosition = 0
  #failure: unknown
  /** Something was refused: the workload is to look at the log again. */
  #isRefused = false
  #savepoints: string[] = []
  #savepointsBegun = 0
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
      answers: this.#answered,
      transactions: this.#transactions,
      ends: this.#ends,
    }
  }

  /** @param shards default: as the seed has it */
  async #start(shards = this.#random.pick([1, 1, 1, 2, 3])): Promise<void> {
    const random = this.#random
    this.#nowMs += random.int(300)
    const isRestored = this.#savepoints.length > 0 && random.next() < 0.15
    const options = {
      random,
      disk: this.#disk,
      simulated: this.#simulated,
      shards,
      fingerprint: `code ${this.#fingerprint}`,
      seal: random.next() < 0.5,
      savepoint: isRestored ? random.pick(this.#savepoints) : undefined,
      continueFrom: isRestored || random.next() < 0.3 ? this.#simulated.app.views.map(({ name }) => name) : [],
      nowMs: this.#nowMs,
      trace: this.#note,
    }
    this.#process = await Process.start(options).catch(error => {
      if (codeOf(error) !== 'VIEW_CANNOT_CONTINUE') throw error
      this.#note('cannot continue')
      return Process.start({ ...options, savepoint: undefined, continueFrom: [] })
    })
    this.#note(`savepoint ${options.savepoint}, continue ${options.continueFrom.length}`)
    this.#isRefused = false
    this.#inFlight = new Set()
    this.#lastPosition = 0
    const { end } = this.#process.log
    if (end < this.#acknowledged) throw new Error(`position ${this.#acknowledged} was durable, the log ends at ${end}`)
    this.#note(`start ${end}, shards ${shards}`)
  }

  async #step(): Promise<void> {
    const process = this.#process!
    const happens = (what: keyof typeof ODDS) => this.#random.int(ODDS[what]) === 0
    if (this.#isRefused && this.#inFlight.size === 0) {
      this.#isRefused = false
      await process.during(process.renewWorkload())
    }
    if (happens('transaction') && this.#inFlight.size < IN_FLIGHT_MAX && !this.#isRefused) this.#transact(process)
    if (happens('read')) this.#read(process)
    if (happens('past')) this.#readPast(process)
    if (happens('rows')) this.#readRows(process)
    if (happens('checkpoint')) this.#watch(process.engine.checkpoint(), process, ['CHECKPOINT_FAILED'])
    if (happens('savepoint')) await this.#save(process)
    if (happens('fold')) this.#foldAgain(process)
    if (happens('redrive')) this.#redrive(process)
    if (happens('compact')) await this.#compact(process)
    this.#lookAtFolds(process)
    if (happens('fault')) this.#failSoon()
    if (happens('end')) return this.#end(process)
    await process.turns.step()
  }

  /** Lets a promise run; whatever it says but what is expected of it ends the simulation. */
  #watch(work: Promise<unknown>, process: Process, expected: readonly string[] = []): void {
    work.catch(error => {
      if (process !== this.#process) return
      const code = codeOf(error)
      this.#note(`refused ${code}`)
      if (!expected.includes(code) && !NO_ANSWER.has(code)) this.#failure ??= error
    })
  }

  #transact(process: Process): void {
    const inFlight = this.#inFlight
    const done = process.workload
      .transaction()
      .finally(() => inFlight.delete(done))
      .then(
        () => {
          if (process !== this.#process) return
          this.#transactions++
          this.#acknowledged = process.log.end
          this.#note(`durable ${process.log.end}`)
        },
        error => {
          if (process === this.#process) this.#isRefused = true
          throw error
        },
      )
    inFlight.add(done)
    this.#watch(done, process, REFUSED)
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
    this.#answered++
    this.#note(`${of} ${position} ${JSON.stringify(copy)}`)
    const byView = Map.groupBy(copy.keys(), n => requests[n]!.view)
    const grouped = new Map([...byView].map(([view, places]) => [view, [...places].map(n => copy[n])]))
    const broken = this.#simulated.broken(grouped)
    if (broken !== undefined) throw new Error(`torn at ${position}: ${broken}`)
  }

  async #save(process: Process): Promise<void> {
    const name = `number-${this.#savepointsBegun++}`
    const work = (async () => {
      const { position } = await process.engine.savepoints.create(name)
      if (process !== this.#process) return
      this.#savepoints.push(name)
      this.#note(`saved ${name} ${position}`)
    })()
    this.#watch(work, process, ['SAVEPOINT_FAILED', 'CHECKPOINT_FAILED', 'NOT_READY', 'VIEW_STOPPED'])
    // Else most would be cut short by an end of the process.
    if (this.#random.next() < 0.7) await process.during(Promise.allSettled([work]))
  }

  /** Folds the log once more, beside the live views, and compares: a verification, or a replay. */
  #foldAgain({ engine, log }: Process): void {
    const random = this.#random
    const view = random.pick(this.#simulated.app.views).name
    const from = random.next() < 0.5 ? 0 : random.int(log.end + 1)
    const verifies = random.next() < 0.5
    const begun = (async () => (verifies ? engine.verifier.start() : engine.replayer.start(view, { from })))()
    this.#note(verifies ? 'verify' : `replay ${view} ${from}`)
    this.#watch(begun, this.#process!, ['REPLAY_BASE_MISSING', 'VIEW_STOPPED'])
  }

  /** What second folds found: nothing that differs. */
  #lookAtFolds({ engine }: Process): void {
    for (const status of [engine.verifier.status(), engine.replayer.status()]) {
      const { report, error } = status
      if (error && !FOLD_FAILURES.has(error.code)) throw new Error(`a second fold: ${JSON.stringify(error)}`)
      for (const { view, equal, error, ...found } of report?.views ?? [])
        if (equal === false || (error && error.code !== 'VIEW_HISTORY_GONE'))
          throw new Error(`${view} folded again: ${JSON.stringify(error ?? found)}`)
    }
  }

  #redrive(process: Process): void {
    const { name } = this.#random.pick(this.#simulated.app.views)
    this.#watch(process.engine.deadLetters.redrive(name), process, ['DEAD_LETTER_UNKNOWN', ...REFUSED])
  }

  /** History of a table goes: answers that were given before are compared first, since nobody can tell them afterwards. */
  async #compact(process: Process): Promise<void> {
    const { compacted } = this.#simulated
    if (compacted.length === 0 || this.#isRefused) return
    await process.during(Promise.allSettled(this.#inFlight))
    // As far as checkpoints go.
    await process.during(Promise.allSettled([process.engine.checkpoint()]))
    await process.during(this.#compare(process, 'amidst'))
    this.#answers.length = 0
    const compact = Object.fromEntries(compacted.map(name => [name, process.log.end]))
    const cleaning = process.log.clean({ compact })
    const done = cleaning.then(({ to, recordsBefore, recordsAfter }) =>
      this.#note(`compacted ${to} ${recordsBefore} ${recordsAfter}`),
    )
    this.#watch(done, process, REFUSED)
    if (this.#random.next() < 0.7) await process.during(Promise.allSettled([done]))
  }

  /** One of the next operations on a folder fails. */
  #failSoon(): void {
    const disk = this.#disk
    const folder = this.#random.pick(['/views', '/views', '/log', '/savepoints'])
    // That a disk is full the log notices by figures, too, at which it looks by the machine's own clock: test/core/log has it.
    const code = folder === '/log' ? 'EIO' : this.#random.pick(['EIO', 'ENOSPC'])
    let left = this.#random.int(12)
    disk.fault = (operation, path) => {
      if (!path.startsWith(folder) || left-- > 0) return undefined
      disk.fault = () => undefined
      this.#note(`fails ${operation} ${path}`)
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
    this.#nowMs = Math.max(this.#nowMs, Math.ceil(process.turns.timeMs))
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
    await process.during(Promise.allSettled(this.#inFlight))
    // One that was under way is of an earlier cut, and what is published is folded, and may be published again.
    do {
      await process.during(engine.waitFor(log.end, new AbortController().signal))
      await process.during(engine.checkpoint())
    } while (engine.position < log.end || engine.status().checkpointPosition < log.end)
    if (this.#failure !== undefined) throw this.#failure
    const last = await process.during(Promise.resolve(engine.read(this.#simulated.rows)))
    this.#take('last', last.position, this.#simulated.rows, last.rows)
    // What is still under way ends by the machine's own time.
    this.#process = undefined
    process.turns.free()
    await this.#compare(process, 'at the end')
    await this.#compareRestarted(process)
    await process.stop()
  }

  /** @param when amidst, not all that was emitted is published */
  async #compare({ log }: Process, when: 'amidst' | 'at the end'): Promise<void> {
    const byPosition = Map.groupBy(this.#answers, answer => answer.position)
    const { emitted } = await recompute(log, this.#simulated.app, (position, read) => {
      if (position < log.base.changedTo) return
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
    // What is below was compared before history went; what was asked for since is told by reads alone.
    for (const position of byPosition.keys()) if (position < log.base.changedTo) byPosition.delete(position)
    if (byPosition.size > 0) throw new Error(`answers at ${[...byPosition.keys()].join()}, where no transaction ends`)
    const published = new Map<string, AnyRow[]>()
    for (const { mark, records } of await batchesOf(log)) {
      const projection = mark && emitterOf(mark.source)
      if (projection === undefined) continue
      published.set(projection, [...(published.get(projection) ?? []), ...records.map(({ after }) => after!)])
    }
    for (const name of new Set([...published.keys(), ...emitted.keys()])) {
      const [there, wanted] = [published.get(name) ?? [], emitted.get(name) ?? []]
      const least = when === 'amidst' ? 0 : wanted.length
      for (let n = 0; n < Math.max(there.length, least); n++) {
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
      // Nothing is due for it.
      wallClockMs: () => 0,
    })
    await again.waitFor(log.end, new AbortController().signal)
    const [live, loaded] = [await engine.read(rows), again.read(rows)]
    if (!isDeepStrictEqual(loaded.rows, live.rows)) throw new Error('a restart from the last checkpoint has other rows')
    await again.stop()
  }
}
