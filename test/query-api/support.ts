// A running application without databases: a real log in a temporary folder, the real engine, the real server, and a
// source whose progress a test sets by hand.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { z } from 'zod'
import {
  type AnyRow,
  type AuditProgress,
  type AuditReport,
  type AuditRequest,
  compileContract,
  type DropReport,
  type EmbeddedLogOptions,
  fail,
  Job,
  type Log,
  type LogTopic,
  openEmbeddedLog,
  type ParkedEntry,
  type ParkedRetried,
  type ParkedRetry,
  type SnapshotCommand,
  type SnapshotProgress,
  type SourceAudits,
  type SourceConnector,
  type SourceStatus,
  type SourceTables,
  type Streams,
  topic,
} from '../../core/index.ts'
import {
  type Application,
  application,
  type Engine,
  type EngineOptions,
  openEngine,
  openShardedEngine,
  partsOf,
  projection,
  startThreadCrew,
} from '../../projections/index.ts'
import {
  Appends,
  openReads,
  openServer,
  type Reads,
  type ReadsOptions,
  type RunningServer,
  type ServerOptions,
} from '../../query-api/index.ts'

export const purchases = topic('purchases', {
  key: 'customer',
  value: z.object({ customer: z.string(), cents: z.int() }),
})
export const seatings = topic('seatings', {
  key: ['show', 'seat'],
  value: z.object({
    show: z.string(),
    seat: z.int32(),
    holder: z.string().nullable(),
    at: z.date(),
    id: z.bigint(),
    note: z.string().min(1).default('none'),
  }),
})
export const spending = projection('spending', {
  key: z.string(),
  state: z.object({ count: z.int32(), cents: z.int() }),
}).on(purchases, 'customer', (spent, purchase) => {
  spent.count++
  spent.cents += purchase.cents
})
/** Totals over all customers, one row: with `spending` it shows whether a read is of one cut. */
export const totals = projection('totals', {
  key: z.string(),
  state: z.object({ count: z.int32(), cents: z.int() }),
}).on(
  purchases,
  () => 'all',
  (total, purchase) => {
    total.count++
    total.cents += purchase.cents
  },
)
export const seats = projection('seats', {
  key: z.object({ show: z.string(), seat: z.int32() }),
  state: z.object({
    holder: z.string().nullable(),
    at: z.date().nullable(),
    ids: z.bigint(),
    tags: z.array(z.string()),
  }),
}).on(seatings, { show: 'show', seat: 'seat' }, (seat, event) => {
  seat.holder = event.holder
  seat.at = event.at
  seat.ids += event.id
  seat.tags = [...seat.tags, event.note]
})
export const numbered = projection('rows', { key: z.bigint(), state: z.object({ count: z.int32() }) })
  .on(
    seatings,
    event => event.id,
    row => {
      row.count++
    },
  )
  .index('count')
/** Stops at its first record. */
export const broken = topic('breaking', { key: 'id', value: z.object({ id: z.int() }) })
export const stopping = projection('stopping', { key: z.int(), state: z.object({ count: z.int32() }) }).on(
  broken,
  'id',
  () => {
    throw new Error('this handler fails')
  },
)

export const shop = application('test-shop', { views: [spending, totals, seats, numbered, stopping] })

const ordersContract = compileContract(
  'shop.orders',
  'table',
  z.object({ id: z.int(), total: z.bigint().nullable() }),
  'id',
)

/** A source that is as far as a test says. */
export class ManualSource implements SourceConnector {
  readonly name: string
  dropped = false
  overrides: Partial<SourceStatus> = {}
  parkedRows: ParkedEntry[] = []
  readonly #reached = new Map<string, PromiseWithResolvers<number>>()

  constructor(name: string) {
    this.name = name
  }

  start(): void {}

  /** Everything up to `position` is in the log, at `logPosition`. */
  reach(position: string, logPosition: number): void {
    this.overrides = { ...this.overrides, position }
    this.#of(position).resolve(logPosition)
  }

  #of(position: string): PromiseWithResolvers<number> {
    const known = this.#reached.get(position) ?? Promise.withResolvers<number>()
    this.#reached.set(position, known)
    return known
  }

  readonly snapshotCommands: SnapshotCommand[] = []

  async snapshot(command: SnapshotCommand): Promise<SnapshotProgress | null> {
    this.snapshotCommands.push(command)
    return this.status().snapshot
  }

  status(): SourceStatus {
    return {
      name: this.name,
      technology: 'manual',
      state: 'streaming',
      waitingFor: null,
      position: '0/0',
      serverPosition: '0/0',
      lagBytes: 0,
      ageMs: 3,
      snapshot: null,
      changes: 0,
      parked: this.parkedRows.length,
      walHeldBytes: 1_000,
      walHeldBytesMax: null,
      slot: 'a_slot',
      publication: 'a_publication',
      tables: ['orders'],
      error: null,
      lastError: null,
      ...this.overrides,
    }
  }

  parked(limit: number): readonly ParkedEntry[] {
    return this.parkedRows.slice(0, limit)
  }

  retries: ParkedRetry[] = []

  async retryParked(request: ParkedRetry): Promise<ParkedRetried> {
    this.retries.push(request)
    return { accepted: 1, superseded: 0, refused: 0, refusals: [], position: 7 }
  }

  reached(position: string, signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      this.#of(position).promise.then(resolve, reject)
    })
  }

  checkPosition(position: string): void {
    if (!/^[0-9A-F]+\/[0-9A-F]+$/i.test(position)) throw fail('TOKEN_MALFORMED', `'${position}' is not an LSN`)
  }

  /** What the next audit reports. */
  auditReport: AuditReport | undefined
  readonly #audit = new Job<AuditReport, AuditProgress>('an audit')
  readonly audits: SourceAudits = {
    start: request =>
      this.#audit.start(({ signal, progress }) => {
        const { auditReport } = this
        this.audited = request
        progress({ table: 'orders', rows: 1, rowsEstimated: 10, rowsPerSecond: 5 })
        if (auditReport) return Promise.resolve(auditReport)
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
      }),
    status: () => this.#audit.status(),
    cancel: () => this.#audit.cancel(fail('CANCELLED', 'the audit was cancelled')),
  }
  audited: AuditRequest | undefined
  /** Of its one table, by key. */
  readonly tableRows = new Map<number, AnyRow>()
  readonly tables: SourceTables = {
    contracts: new Map([['orders', ordersContract]]),
    get: async (_, keys) => ({
      rows: keys.map(key => this.tableRows.get(ordersContract.key.decode(key) as number)),
      position: 7,
    }),
    page: async (_, after, limit) => {
      const from = after ? (ordersContract.key.decode(after) as number) : Number.NEGATIVE_INFINITY
      const rows = [...this.tableRows].filter(([key]) => key > from).sort(([a], [b]) => a - b)
      return { rows: rows.slice(0, limit).map(([, row]) => row), position: 7 }
    },
  }

  async stop(): Promise<void> {}

  async drop(): Promise<DropReport> {
    this.dropped = true
    return { source: this.name, dropped: ['slot a_slot', 'publication a_publication'] }
  }
}

export interface World extends AsyncDisposable {
  readonly log: Log & Streams
  readonly engine: Engine
  readonly reads: Reads<Log & Streams>
  readonly appends: Appends
  readonly topics: ReadonlyMap<string, LogTopic>
  readonly source: ManualSource
  readonly server: RunningServer
  readonly url: string
  readonly internalErrors: unknown[]
  /** A GET whose answer is JSON. */
  get(path: string): Promise<Reply>
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Reply>
}

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
}

/**
 * @param options of the engine: where what is kept matters, checkpoints must not come by the clock; shards in so many threads, of an
 *   application that Node itself has loaded from its file
 * @param settings how it is served
 */
export async function openWorld(
  app: Application = shop,
  {
    segmentBytesMax,
    threads = 0,
    ...options
  }: Pick<EngineOptions, 'checkpointIntervalMs'> &
    Pick<EmbeddedLogOptions, 'segmentBytesMax'> & { readonly threads?: number } = {},
  settings: Partial<ServerOptions> = {},
  subscriptions: NonNullable<ReadsOptions['subscriptions']> = {},
): Promise<World> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mainstem-query-api-'))
  const log = await openEmbeddedLog({ path: path.join(folder, 'log'), ...(segmentBytesMax && { segmentBytesMax }) })
  const parts = partsOf(app)
  const topics = new Map<string, LogTopic>()
  for (const each of parts.topics)
    topics.set(each.name, await log.topic(compileContract(each.name, 'topic', each.value, each.key)))
  await log.topic(ordersContract)
  const views = path.join(folder, 'views')
  const own = { log, parts, path: views, fingerprint: 'test', ...options }
  const engine =
    threads === 0
      ? await openEngine(own)
      : await openShardedEngine(own, await startThreadCrew({ count: threads, log, path: views, application: app }))
  const source = new ManualSource('shop')
  const reads = openReads({ engine, log, sources: new Map([['shop', source]]), subscriptions })
  const internalErrors: unknown[] = []
  const server = await openServer({
    application: app.name,
    reads,
    topics,
    port: 0,
    version: '1.2.3',
    log: {
      error: members => internalErrors.push('err' in members ? members.err : members),
      warn: () => {},
      debug: () => {},
    },
    ...settings,
  })
  const send = async (target: string, init?: RequestInit): Promise<Reply> => {
    const response = await fetch(server.url + target, init)
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
  }
  return {
    log,
    engine,
    reads,
    appends: new Appends(log, topics),
    topics,
    source,
    server,
    url: server.url,
    internalErrors,
    get: target => send(target),
    post: (target, body, headers = { 'content-type': 'application/json' }) =>
      send(target, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) }),
    async [Symbol.asyncDispose]() {
      await server.close()
      await engine.stop()
      await log.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
