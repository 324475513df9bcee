// What the tests of all connectors share: a captured database with its log, and the fold that proves the log right.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import {
  type AnyRow,
  type AuditReport,
  type AuditRequest,
  compileContract,
  contractOfTable,
  type EmbeddedLogOptions,
  type FileSystem,
  type Log,
  type LogBlock,
  openEmbeddedLog,
  openMirror,
  type SourceConnector,
  type SourceDefinition,
  type SourceEvent,
  type SourceTable,
  type SourceTopic,
} from '../../core/index.ts'

export abstract class CapturedSource {
  readonly folder: string
  readonly url: string
  readonly events: SourceEvent[] = []
  #source: SourceDefinition
  #tables: readonly SourceTable[]
  #log: Log | undefined
  #connector: SourceConnector | undefined

  /** Where the log is kept, if not on a real disk. */
  fileSystem: FileSystem | undefined
  /** Further options of the log, for the next `open`. */
  logOptions: Partial<EmbeddedLogOptions> = {}
  /** Captured topics, for the next `open`. */
  topics: readonly SourceTopic[] = []
  /** Told each event as it comes. */
  onEvent: (event: SourceEvent) => void = () => {}

  constructor(source: SourceDefinition, url: string, tables: readonly SourceTable[], folder?: string) {
    this.folder = folder ?? mkdtempSync(join(tmpdir(), 'mainstem-cdc-'))
    this.url = url
    this.#source = source
    this.#tables = tables
  }

  get log(): Log {
    if (!this.#log) throw new Error('not open')
    return this.#log
  }

  get connector(): SourceConnector {
    if (!this.#connector) throw new Error('not open')
    return this.#connector
  }

  get isStopped(): boolean {
    return this.#connector === undefined
  }

  /** Other definitions, for the next `open`. */
  redefine(source: SourceDefinition, tables: readonly SourceTable[]): void {
    this.#source = source
    this.#tables = tables
  }

  async open(options: { readonly resnapshot?: boolean } = {}): Promise<this> {
    const disk = this.fileSystem ? { fileSystem: this.fileSystem } : {}
    this.#log ??= await openEmbeddedLog({ path: join(this.folder, 'log'), ...disk, ...this.logOptions })
    const tables = []
    for (const table of this.#tables) {
      const contract = contractOfTable(table)
      tables.push({ table, contract, topic: await this.#log.topic(contract) })
    }
    const topics = []
    for (const declared of this.topics) {
      const { name, value, key, upcasts, tags } = declared
      const contract = compileContract(name, 'topic', value, key, upcasts, tags)
      topics.push({ declared, contract, topic: await this.#log.topic(contract) })
    }
    this.#connector = await this.#source.open({
      application: 'test',
      log: this.#log,
      tables,
      topics,
      mirrorPath: join(this.folder, 'mirror'),
      resnapshot: options.resnapshot ?? false,
      onEvent: event => {
        this.events.push(event)
        this.onEvent(event)
      },
    })
    return this
  }

  async start(options: { readonly resnapshot?: boolean } = {}): Promise<this> {
    await this.open(options)
    this.connector.start()
    return this
  }

  /** Waits until all that is committed now is in the log. */
  async level(timeoutMs = 30_000): Promise<number> {
    const token = await this.token()
    return this.connector.reached(token.slice(token.indexOf(':') + 1), AbortSignal.timeout(timeoutMs)).catch(error => {
      throw new Error(`not reached: ${JSON.stringify(this.connector.status())}`, { cause: error })
    })
  }

  /** Runs statements one after the other, on one connection. */
  abstract run(...statements: readonly string[]): Promise<void>

  /** The token of all that is committed now. */
  protected abstract token(): Promise<string>

  /** Runs statements in one transaction. */
  transaction(...statements: readonly string[]): Promise<void> {
    return this.run('begin', ...statements, 'commit')
  }

  async stop(): Promise<void> {
    await this.#connector?.stop()
    this.#connector = undefined
    await this.#log?.close()
    this.#log = undefined
  }

  /** What the mirror holds of a table; ends the connector. */
  async mirrorRows(name: string): Promise<AnyRow[]> {
    await this.#connector?.stop()
    this.#connector = undefined
    const tables = []
    for (const table of this.#tables) {
      const contract = contractOfTable(table)
      tables.push({ contract, topic: await this.log.topic(contract) })
    }
    const mirror = await openMirror({ path: join(this.folder, 'mirror'), log: this.log, source: 'db', tables })
    try {
      const table = mirror.table(`db.${name}`)
      const rows = new Map<string, AnyRow>()
      for (const key of table.keys()) {
        const stored = table.find(key)
        if (stored) rows.set(key.toString('hex'), table.row(stored))
      }
      return [...rows.values()]
    } finally {
      await mirror.close()
    }
  }

  async restart(options: { readonly resnapshot?: boolean } = {}): Promise<this> {
    await this.stop()
    return this.start(options)
  }

  async close(): Promise<void> {
    await this.stop().catch(() => {})
    await this.#source.drop('test').catch(() => {})
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Runs an audit to its end. */
  async audit(request: AuditRequest = {}): Promise<AuditReport> {
    const { audits } = this.connector
    audits.start(request)
    const { report, error } = await until(() => {
      const status = audits.status()
      return status.state === 'running' ? undefined : status
    })
    if (!report) throw new Error(`the audit failed: ${error?.code} ${error?.message} ${error?.detail}`)
    return report
  }

  event<E extends SourceEvent['event']>(name: E): Extract<SourceEvent, { event: E }> | undefined {
    return this.events.find((event): event is Extract<SourceEvent, { event: E }> => event.event === name)
  }

  fold(): Promise<Map<string, Map<string, AnyRow>>> {
    return foldLog(this.log)
  }

  /** The rows of a table by the log, in key order of their text. */
  async rows(table: string): Promise<AnyRow[]> {
    const rows = (await this.fold()).get(`db.${table}`) ?? new Map<string, AnyRow>()
    return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  }

  records(): Promise<SeenChange[]> {
    return changesOf(this.log)
  }
}

export async function readBlocks(log: Log, after = 0): Promise<LogBlock[]> {
  const reader = log.read(after)
  const blocks: LogBlock[] = []
  for (;;) {
    const next = await reader.ready()
    if (next.length === 0) break
    blocks.push(...next)
  }
  reader.close()
  return blocks
}

/** Folds all change records, insisting that each fits what stands before it: nothing lost, nothing doubled. */
export async function foldLog(log: Log): Promise<Map<string, Map<string, AnyRow>>> {
  const tables = new Map<string, Map<string, AnyRow>>()
  for (const { topic, op, before, after, key, position } of await changesOf(log)) {
    if (op === 'event' || op === 'parked') continue
    const rows = tables.get(topic) ?? new Map<string, AnyRow>()
    tables.set(topic, rows)
    const oldKey = before ? key(before) : undefined
    if (oldKey !== undefined) {
      if (!isDeepStrictEqual(rows.get(oldKey), before))
        throw new Error(`${topic} at ${position}: before is not what stood at ${oldKey}`)
      rows.delete(oldKey)
    }
    if (after) {
      if (rows.has(key(after))) throw new Error(`${topic} at ${position}: ${key(after)} is there already`)
      rows.set(key(after), after)
    }
  }
  return tables
}

export interface SeenChange {
  readonly position: number
  readonly topic: string
  readonly op: string
  readonly before: AnyRow | null
  readonly after: AnyRow | null
  readonly parked: unknown
  readonly transaction: string | undefined
  readonly key: (row: AnyRow) => string
}

export async function changesOf(log: Log): Promise<SeenChange[]> {
  const changes: SeenChange[] = []
  for (const block of await readBlocks(log)) {
    const records = block.records()
    while (records.next()) {
      const { key } = records.topic.contract
      changes.push({
        position: records.position,
        topic: records.topic.name,
        op: records.op,
        before: records.op === 'update' || records.op === 'delete' ? records.before() : null,
        after: records.op === 'parked' || records.op === 'delete' ? null : records.after(),
        parked: records.op === 'parked' ? records.parked() : null,
        transaction: block.mark?.transaction,
        key: row => key.format(key.fromRow(row)),
      })
    }
  }
  return changes
}

/** Waits until `probe` gives something. */
export async function until<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) throw new Error(`nothing came within ${timeoutMs} ms`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
