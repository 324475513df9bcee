// The course of the demo, from two empty servers to the audit. Everything opened is closed again, in whatever way it ends.
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { ApplicationProcess } from './application-process.ts'
import type { ProcessEvent } from './application-state.ts'
import { compareViews, fetchJson, findsCorruption, readView, recomputeViews, VIEWS } from './audit.ts'
import { Chaos, ChaosPlan } from './chaos.ts'
import {
  comparisonLines,
  count,
  type DemoDisplay,
  seconds,
  snapshotLine,
  statusLine,
  tryLines,
} from './demo-display.ts'
import { type AuditOutcome, createReport, type DemoReport, reportLines } from './demo-report.ts'
import { FirstAnswer } from './first-answer.ts'
import type { Interrupts } from './interrupts.ts'
import {
  closeSampleDatabase,
  currentLsn,
  openSampleDatabase,
  type SampleDatabase,
  SOURCES,
} from './sample-databases.ts'
import type { SampleSizes } from './schema.ts'
import { Workload } from './workload.ts'

const PORT_DEFAULT = 7070
const DISPLAY_INTERVAL_MS = 200
const POLL_MS = 50
/** How long the views may take to reach what the databases had when the workload stopped. */
const LEVEL_TIMEOUT_MS = 300_000
/** A waiting read of the API waits this long at most. */
const READ_TIMEOUT_MS = 60_000
/** What a chaos run may take beyond its seconds to carry out all that it planned. */
const CHAOS_EXTRA_SECONDS_MAX = 120

export interface DemoOptions {
  readonly sizes: SampleSizes
  /** Changes per second. */
  readonly rate: number
  readonly chaos: boolean
  /** Of streaming. Default: until Ctrl-C. */
  readonly seconds?: number
  readonly port?: number
  readonly display: DemoDisplay
}

interface Databases {
  readonly shop: SampleDatabase
  readonly billing: SampleDatabase
}

export async function runDemo(options: DemoOptions, interrupts: Interrupts): Promise<DemoReport> {
  const startedMs = performance.now()
  await using closing = new AsyncDisposableStack()
  const databases = await openDatabases(options, interrupts, closing)
  const demo = new Demo(options, {
    startedMs,
    databases,
    customer: await findBusyCustomer(databases.shop),
    dataDir: await openDataFolder(options, closing),
    port: options.port ?? (await freePort()),
  })
  closing.defer(() => demo.close())
  await interrupts.guard(demo.reachStreaming())
  await interrupts.guard(demo.stream(interrupts.stopRequest()))
  const report = await interrupts.guard(demo.audit())
  await closing.disposeAsync()
  return report
}

async function openDatabases(
  { sizes, display }: DemoOptions,
  interrupts: Interrupts,
  closing: AsyncDisposableStack,
): Promise<Databases> {
  display.line('starting two PostgreSQL servers, filling shop and billing …')
  const open = (name: (typeof SOURCES)[number]) => {
    const opening = openSampleDatabase(name, sizes)
    closing.defer(async () => {
      const database = await opening.catch(() => undefined)
      if (database !== undefined) await closeSampleDatabase(database)
    })
    return opening
  }
  const [shop, billing] = await interrupts.guard(Promise.all([open('shop'), open('billing')]))
  const described = [shop, billing].map(
    ({ name, rows, server, seconds: took }) => `${name} ${count(rows)} rows on port ${server.port} (${seconds(took)})`,
  )
  display.line(described.join('   '))
  return { shop, billing }
}

/** A folder that is gone when the process is, by whatever exit. */
async function openDataFolder({ display }: DemoOptions, closing: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mainstem-demo-'))
  display.line(`the application's data folder: ${folder}`)
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  process.on('exit', remove)
  closing.defer(() => {
    process.off('exit', remove)
    remove()
  })
  return folder
}

/** One with many orders: it will be there whatever the workload deletes. */
async function findBusyCustomer({ pool }: SampleDatabase): Promise<string> {
  const { rows } = await pool.query<{ id: string }>(
    'select customer_id::text as id from orders group by 1 order by count(*) desc, 1 limit 1',
  )
  return rows[0]?.id ?? '1'
}

async function freePort(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const probe = createServer()
  probe.once('error', () => resolve(0))
  probe.listen(PORT_DEFAULT, '127.0.0.1', () => probe.close(() => resolve(PORT_DEFAULT)))
  return promise
}

interface Setting {
  readonly startedMs: number
  readonly databases: Databases
  /** One with orders. */
  readonly customer: string
  readonly dataDir: string
  readonly port: number
}

class Demo {
  readonly #options: DemoOptions
  readonly #setting: Setting
  readonly #workload: Workload
  readonly #workloadFailure = Promise.withResolvers<never>()
  readonly #firstAnswer = new FirstAnswer()
  #closed = false
  #application: ApplicationProcess | undefined
  #chaos: Chaos | undefined
  #ticker: NodeJS.Timeout | undefined
  #streamingSinceMs: number | undefined
  #changesPerSecond = 0
  #rate = { atMs: 0, changes: 0, perSecond: 0 }
  #lag: { readonly p50Ms: number | null; readonly p99Ms: number | null } = { p50Ms: null, p99Ms: null }

  constructor(options: DemoOptions, setting: Setting) {
    this.#options = options
    this.#setting = setting
    const { shop, billing } = setting.databases
    this.#workload = new Workload({ shop: shop.pool, billing: billing.pool, ratePerSecond: options.rate })
  }

  /** Starts the application and, before it has taken its snapshots, the workload; resolves when every source streams. */
  async reachStreaming(): Promise<void> {
    const { chaos, display } = this.#options
    const { databases, customer, dataDir, port, startedMs } = this.#setting
    const application = new ApplicationProcess({
      file: path.join(import.meta.dirname, 'app.ts'),
      dataDir,
      port,
      env: { SHOP_URL: databases.shop.url, BILLING_URL: databases.billing.url },
      sources: SOURCES,
      onEvent: event => {
        this.#show(event)
        this.#chaos?.onEvent(event)
      },
    })
    this.#application = application
    if (chaos) {
      this.#chaos = new Chaos(application, new ChaosPlan(), phase => display.line(`killed (SIGKILL): ${phase}`))
    }
    application.start()
    this.#ticker = setInterval(() => this.#tick(), DISPLAY_INTERVAL_MS)
    await this.#unlessFailed(this.#workload.start())
    await this.#unlessFailed(application.until(state => state.url !== undefined))
    const { url = '' } = application.state
    for (const line of tryLines(url, customer)) display.line(line)
    void this.#firstAnswer.ask(`${url}/v1/views/accounts/rows/${customer}`, (which, answer) => {
      const elapsed = (performance.now() - startedMs) / 1000
      display.line(`${which} answer after ${seconds(elapsed)}: ${JSON.stringify(answer)}`)
    })
    await this.#unlessFailed(application.until(state => state.streaming))
    // Where nothing is killed, the time begins when the views show what happened meanwhile, and so do the lag's figures.
    if (!chaos) await this.#unlessFailed(this.#reachLevel())
  }

  /** Lets the workload run, until its time is over or somebody says so; resolves when it has stopped. */
  async stream(stopRequest: Promise<void>): Promise<void> {
    const startedMs = performance.now()
    this.#streamingSinceMs = startedMs
    const changesBefore = this.#workload.changes
    let stopped = false
    stopRequest.then(() => {
      stopped = true
    })
    await this.#unlessFailed(this.#until(() => stopped || this.#isOver((performance.now() - startedMs) / 1000)))
    const tookSeconds = (performance.now() - startedMs) / 1000
    this.#changesPerSecond = (this.#workload.changes - changesBefore) / tookSeconds
    await this.#chaos?.stop()
    await this.#workload.stop()
    clearInterval(this.#ticker)
    this.#options.display.line(`the workload has stopped: ${count(this.#workload.changes)} changes since its start`)
  }

  #isOver(elapsedSeconds: number): boolean {
    const { seconds: wanted = Number.POSITIVE_INFINITY } = this.#options
    if (elapsedSeconds < wanted) return false
    return this.#chaos === undefined || this.#chaos.settled || elapsedSeconds > wanted + CHAOS_EXTRA_SECONDS_MAX
  }

  async audit(): Promise<DemoReport> {
    const { display } = this.#options
    const { shop, billing } = this.#setting.databases
    const levelMs = await this.#unlessFailed(this.#reachLevel())
    display.line('recomputing every row of every view with SQL, reading every row through HTTP …')
    const startedMs = performance.now()
    const expected = await recomputeViews(shop.pool, billing.pool)
    const url = this.#application?.state.url ?? ''
    const read = VIEWS.map(async view => [view, await readView(url, view, expected.get(view)?.keys() ?? [])] as const)
    const found = new Map(await this.#unlessFailed(Promise.all(read)))
    const comparison = compareViews(expected, found)
    const rowsOfViews = VIEWS.map(view => `${view} ${count(expected.get(view)?.size ?? 0)}`).join(' · ')
    for (const line of comparisonLines(comparison, rowsOfViews)) display.line(line)
    const corruptedRowFound = findsCorruption(expected, found)
    const outcome = corruptedRowFound ? 'the same comparison finds it' : 'THE SAME COMPARISON DOES NOT FIND IT'
    display.line(`one number of one row made wrong in a copy: ${outcome}`)
    display.line(`audit took ${seconds((performance.now() - startedMs) / 1000)}`)
    return this.#report({ ...comparison, corruptedRowFound, levelMs })
  }

  /** Waits until the views show everything that the databases hold now; gives the milliseconds that it took. */
  async #reachLevel(): Promise<number> {
    const { display } = this.#options
    const { shop, billing } = this.#setting.databases
    const startedMs = performance.now()
    const [shopLsn, billingLsn] = await Promise.all([currentLsn(shop.pool), currentLsn(billing.pool)])
    // Under chaos the application may just be starting again.
    await this.#application?.until(state => state.listening)
    const query = `after=shop:${shopLsn}&after=billing:${billingLsn}&timeoutMs=${READ_TIMEOUT_MS}`
    for (;;) {
      try {
        await fetchJson(`${this.#application?.state.url}/v1/views/accounts/lookup?${query}`, { keys: [1] })
        break
      } catch (error) {
        if (performance.now() - startedMs > LEVEL_TIMEOUT_MS) throw error
        display.line(`not level yet after ${seconds((performance.now() - startedMs) / 1000)}: ${String(error)}`)
        await wait(POLL_MS)
      }
    }
    const levelMs = Math.round(performance.now() - startedMs)
    display.line(`the views are level with shop ${shopLsn} and billing ${billingLsn} after ${levelMs} ms`)
    return levelMs
  }

  #report(outcome: AuditOutcome): DemoReport {
    const sinceStart = (atMs: number | null) => (atMs === null ? null : (atMs - this.#setting.startedMs) / 1000)
    const measured = {
      lag: this.#lag,
      changesPerSecond: this.#changesPerSecond,
      secondsToFirstAnswer: sinceStart(this.#firstAnswer.answeredAtMs),
      secondsToFinalAnswer: sinceStart(this.#firstAnswer.finalAtMs),
      seconds: (performance.now() - this.#setting.startedMs) / 1000,
    }
    const report = createReport(outcome, this.#workload.counts, measured, this.#application?.state, this.#chaos)
    for (const line of reportLines(report)) this.#options.display.line(line)
    return report
  }

  /** Stops what runs. @throws when the application does not shut down cleanly */
  async close(): Promise<void> {
    this.#closed = true
    this.#firstAnswer.stop()
    clearInterval(this.#ticker)
    await this.#chaos?.stop()
    const stopped = await Promise.allSettled([this.#workload.stop(), this.#application?.stop()])
    // A workload that failed has been reported where it mattered.
    if (stopped[1].status === 'rejected') throw stopped[1].reason
  }

  #show(event: ProcessEvent): void {
    const { display } = this.#options
    switch (event.event) {
      case 'snapshot-ended': {
        const perSecond = event.rows / Math.max(event.seconds, 0.001)
        display.line(
          `${event.source}: ${count(event.rows)} rows in ${seconds(event.seconds)} (${count(perSecond)} rows/s)`,
        )
        return
      }
      case 'streaming':
        display.line(`${event.source}: streaming from ${event.position}`)
        return
      case 'parked':
        display.line(`a row of ${event.topic} was refused: key ${event.key}, ${event.position}: ${event.error}`)
        return
      case 'source-retrying':
        display.line(`${event.source}: ${event.code} ${event.message}; again in ${seconds(event.delayMs / 1000)}`)
        return
      case 'checkpoint-failed':
        display.line(`checkpoint failed: ${event.message}`)
        return
      case 'status':
        // Of the last ten to twenty seconds; under chaos of the last process at most.
        if (event.lagP50Ms !== null) this.#lag = { p50Ms: event.lagP50Ms, p99Ms: event.lagP99Ms }
    }
  }

  #tick(): void {
    const application = this.#application
    if (application === undefined) return
    const nowMs = performance.now()
    const { changes, failure } = this.#workload
    if (failure !== undefined) this.#workloadFailure.reject(failure)
    if (nowMs - this.#rate.atMs >= 1000) {
      const perSecond = ((changes - this.#rate.changes) / (nowMs - this.#rate.atMs)) * 1000
      this.#rate = { atMs: nowMs, changes, perSecond }
    }
    const { state } = application
    const figures = {
      elapsedSeconds: this.#streamingSinceMs === undefined ? 0 : (nowMs - this.#streamingSinceMs) / 1000,
      changesPerSecond: this.#rate.perSecond,
      kills: this.#chaos?.total ?? 0,
    }
    const { display } = this.#options
    const streams = this.#streamingSinceMs !== undefined || state.streaming
    display.move(streams ? statusLine(state, figures) : snapshotLine(state))
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#closed) await wait(POLL_MS)
  }

  #unlessFailed<T>(work: Promise<T>): Promise<T> {
    const failures = [this.#application?.failure, this.#chaos?.failure].filter(failure => failure !== undefined)
    return Promise.race([work, this.#workloadFailure.promise, ...failures])
  }
}
