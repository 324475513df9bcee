// The composition: log, sources, views and, where wanted, the HTTP server of one application, opened and closed together.
import { basename, dirname, join, sep } from 'node:path'
import type { z } from 'zod'
import {
  type AnyTopic,
  type CapturedTable,
  type CapturedTopic,
  COMMANDS_TOPIC,
  Commands,
  compileContract,
  contractOfTable,
  fail,
  type Log,
  type LogEvent,
  type LogTopic,
  nodeFileSystem,
  type OpenDecider,
  openEmbeddedLog,
  type Retain,
  type Scans,
  type SourceConnector,
  type SourceDefinition,
  type SourceEvent,
  type Streams,
  sourceTopicOf,
} from '../core/index.ts'
import {
  type Application,
  type ApplicationParts,
  checkUsable,
  DeciderStates,
  type Engine,
  type EngineEvent,
  findSavepoint,
  fingerprintOf,
  inShardThread,
  partsOf,
  readSavepoint,
  type Savepoint,
  shapeOf,
} from '../projections/index.ts'
import {
  Appends,
  type Client,
  createLocalClient,
  IDEMPOTENCY_KEY_KEPT_MS,
  openReads,
  openServer,
  RETAINED_APPENDS,
  type ServerOptions,
  type ServerSettings,
} from '../query-api/index.ts'
import { createEventStore, type EventStore } from './event-store.ts'
import { openAnyEngine } from './open-engine.ts'

/** What happens in a running application, as `mainstem run --json` prints it. */
export type ApplicationEvent =
  | SourceEvent
  | EngineEvent
  | { readonly event: 'listening'; readonly url: string }
  | { readonly event: 'log'; readonly what: string; readonly detail: string }

export interface OpenOptions {
  /** Where log, mirrors and checkpoints live. Default `.mainstem/<application>` under the working folder. */
  readonly dataDir?: string
  /** Serve HTTP: where, to whom and how much, or `true` for 127.0.0.1:7070, this machine only. Default: no server. */
  readonly listen?: boolean | ServerSettings
  /** Names of sources to read again at this start; only differences become records. Repairs a lost slot, a log behind it, added tables. */
  readonly resnapshot?: readonly string[]
  /** Milliseconds between checkpoints. Default 1,000. */
  readonly checkpointIntervalMs?: number
  /**
   * Names of views that are to be made from what is left, where events (or changes of a table) that they would fold were removed by
   * retention or compaction. Without it such a view is stopped with VIEW_HISTORY_GONE; the others go on.
   */
  readonly acceptHistoryGone?: readonly string[]
  /**
   * Names of views that keep their checkpoint although their code changed; what they hold up to there stays as the former code
   * made it, which is written down and shown in `GET /v1/views/{view}`. Default none: changed code folds the log anew.
   */
  readonly continueFrom?: readonly string[]
  /**
   * Name of a savepoint, or its file: all views begin with its rows, and what came after it in the log is folded. It must be of this
   * log; views of other code go on from it only where `continueFrom` names them, or their rows are migrated. Default: the newest checkpoint.
   */
  readonly fromSavepoint?: string
  /**
   * Rewrite closed segments of the log into compressed columns, in a thread of their own: about a fifth of the space.
   * Default true. False leaves what is closed from now on as it was appended.
   */
  readonly seal?: boolean
  /**
   * What the log may have, in bytes. Sources pause at 90 % of it; what would pass it is refused with LOG_FULL, while reads go on.
   * Default: no limit.
   */
  readonly logBytesMax?: number
  /** What the log leaves free on its volume, in bytes. Default 256 MiB, or a twentieth of a smaller volume; 0: nothing. */
  readonly logFreeBytesMin?: number
  /**
   * What the rows of all views may take in memory, in bytes; a view that would go beyond stops with STATE_TOO_LARGE.
   * Default: three fifths of the memory of the machine or container.
   */
  readonly stateBytesMax?: number
  /**
   * Fold in so many threads, 1 to 128, each of which owns a part of the keys; the application must be the default export of the
   * file that declares it. The number may change from start to start: checkpoints are good for any. `auto`: one less than there are
   * cores, or with two cores in the calling thread. Default: in the calling thread.
   */
  readonly shards?: number | 'auto'
  readonly onEvent?: (event: ApplicationEvent) => void
}

/** An application that runs in this process. */
export interface Running<A extends Application = Application> extends EventStore, AsyncDisposable {
  readonly client: Client<A>
  /** Where HTTP is served, if it is. */
  readonly url: string | undefined
  readonly log: Log & Streams & Scans
  readonly engine: Engine
  readonly sources: ReadonlyMap<string, SourceConnector>
  /**
   * Appends records to one of the application's topics, all or none, and gives a token for `after`.
   * @throws RECORD_REFUSED before any effect, LOG_FULL, LOG_CLOSED
   */
  append<T extends AnyTopic>(topic: T, values: readonly z.input<T['value']>[]): Promise<string>
  close(): Promise<void>
}

/**
 * Opens an application: its log, its sources, its views. On return everything is checked and runs.
 * @throws DATA_DIR_IN_USE, LOG_CORRUPT, CONTRACT_…, SOURCE_…, SAVEPOINT_…, VIEW_CANNOT_CONTINUE, MIGRATION_FAILED; an AggregateError where several sources cannot open
 * @example
 * await using app = await openApplication(definition)
 * const token = await app.append(purchases, [{ customer: 'ada', cents: 1250 }])
 * await app.client.views.spending.get('ada', { after: token })
 */
export async function openApplication<A extends Application>(app: A, options: OpenOptions = {}): Promise<Running<A>> {
  checkThread()
  const closers: (() => Promise<void>)[] = []
  const closeAll = async () => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    return await openParts(app, options, closers, closeAll)
  } catch (error) {
    await closeAll().catch(() => {})
    throw error
  }
}

/** A shard's thread loads the application's file: what that file opens would be opened again, and again. */
function checkThread(): void {
  if (!inShardThread()) return
  throw fail('APPLICATION_INVALID', 'an application was opened in the thread of a shard', {
    detail: 'the file that declares it also opens it, when it is loaded',
    hint: 'open it from another file, or only where `import.meta.main` is true',
  })
}

function logDetail(event: LogEvent): string {
  switch (event.event) {
    case 'log-nearly-full':
      return `sources pause, waiting for ${event.message}`
    case 'log-limited':
    case 'log-full':
      return `appends are refused, waiting for ${event.message}`
    case 'log-failed':
    case 'log-seal-failed':
    case 'log-clean-failed':
    case 'log-clean-waits':
      return event.message
    case 'log-tail-cut':
      return `${event.bytes} bytes of ${event.file}, which were never acknowledged: ${event.reason}`
    case 'log-segment-rescanned':
      return event.file
    case 'log-cleaned':
      return `${event.recordsBefore} records became ${event.recordsAfter}, ${event.bytesBefore} bytes ${event.bytesAfter}, up to position ${event.to}`
    case 'log-open':
      return `appends and sources go on: ${event.message}`
  }
}

async function openParts<A extends Application>(
  app: A,
  options: OpenOptions,
  closers: (() => Promise<void>)[],
  closeAll: () => Promise<void>,
): Promise<Running<A>> {
  const parts = partsOf(app)
  checkResnapshot(options.resnapshot ?? [], parts)
  checkViews([...(options.acceptHistoryGone ?? []), ...(options.continueFrom ?? [])], parts)
  const dataDir = options.dataDir ?? dataDirOf(app)
  const onEvent = options.onEvent ?? (() => {})
  const log = await openEmbeddedLog({
    path: join(dataDir, 'log'),
    seal: options.seal ?? true,
    ...(options.logBytesMax === undefined ? {} : { bytesMax: options.logBytesMax }),
    ...(options.logFreeBytesMin === undefined ? {} : { freeBytesMin: options.logFreeBytesMin }),
    onEvent: event => onEvent({ event: 'log', what: event.event, detail: logDetail(event) }),
  })
  closers.push(() => log.close())
  const topics = await registerTopics(parts, log)
  log.retain({ ...retainOf(parts), ...RETAINED_APPENDS, [COMMANDS_TOPIC]: { ms: IDEMPOTENCY_KEY_KEPT_MS } })
  const sources = await openSources(app.name, { parts, topics }, log, dataDir, options)
  closers.push(async () => {
    await Promise.all([...sources.values()].map(source => source.stop()))
  })
  const savepoint =
    options.fromSavepoint === undefined ? undefined : await openSavepoint(options.fromSavepoint, dataDir, log)
  const fingerprint = await fingerprintOf(app.file, shapeOf(parts))
  const { checkpointIntervalMs, stateBytesMax } = options
  const engine = await openAnyEngine({
    application: app,
    shards: options.shards,
    log,
    parts,
    path: join(dataDir, 'views'),
    fingerprint,
    onEvent,
    acceptHistoryGone: options.acceptHistoryGone ?? [],
    continueFrom: options.continueFrom ?? [],
    ...(savepoint === undefined ? {} : { savepoint }),
    ...(checkpointIntervalMs === undefined ? {} : { checkpointIntervalMs }),
    ...(stateBytesMax === undefined ? {} : { stateBytesMax }),
  })
  closers.push(() => engine.stop())
  const reads = openReads({ engine, log, sources })
  const commands = new Commands({ log, deciders: openDeciders(parts, topics, engine) })
  const own = ownTopics(parts, topics)
  const appends = new Appends(
    log,
    own,
    parts.deciders.map(({ name }) => name),
  )
  closers.push(async () => reads.close())
  const url = await listen(app, options, { reads, topics: own, commands, closers })
  for (const source of sources.values()) source.start()
  if (url) onEvent({ event: 'listening', url })
  return {
    client: createLocalClient<A>(reads, commands),
    url,
    log,
    engine,
    sources,
    ...createEventStore(log, topics),
    append: async (topic, values) => (await appends.append(topic.name, values)).token,
    close: closeAll,
    [Symbol.asyncDispose]: closeAll,
  }
}

export const dataDirOf = ({ name }: Application): string => join('.mainstem', name)

/** @param wanted a name, or the path of a file @throws SAVEPOINT_UNKNOWN, SAVEPOINT_UNUSABLE */
export async function openSavepoint(wanted: string, dataDir: string, log: Pick<Log, 'id' | 'end'>): Promise<Savepoint> {
  const isPath = wanted.includes('/') || wanted.includes(sep) || wanted.endsWith('.savepoint')
  const savepoint = isPath
    ? await readSavepoint(nodeFileSystem, dirname(wanted), basename(wanted))
    : await findSavepoint(nodeFileSystem, join(dataDir, 'savepoints'), wanted)
  checkUsable(savepoint, log)
  return savepoint
}

function checkResnapshot(names: readonly string[], parts: ApplicationParts): void {
  for (const name of names) {
    if (!parts.sources.some(source => source.name === name)) throw unknownSource(name, parts.sources)
  }
}

export function checkViews(names: readonly string[], { projections }: ApplicationParts): void {
  const unknown = names.find(name => !projections.some(projection => projection.name === name))
  if (unknown === undefined) return
  throw fail('VIEW_UNKNOWN', `the application has no view '${unknown}'`, {
    detail: `it has ${projections.map(({ name }) => name).join(', ') || 'none'}`,
  })
}

export const unknownSource = (name: string, sources: readonly SourceDefinition[]) =>
  fail('SOURCE_UNKNOWN', `the application has no source '${name}'`, {
    detail: `it has ${sources.map(source => source.name).join(', ') || 'none'}`,
  })

/** What topics and tables say of how much history is kept. */
function retainOf({ topics, tables }: ApplicationParts): Record<string, Retain> {
  return Object.fromEntries([...topics, ...tables].flatMap(({ name, retain }) => (retain ? [[name, retain]] : [])))
}

/** The application's own topics, registered in the log. */
async function registerTopics(parts: ApplicationParts, log: Log): Promise<ReadonlyMap<string, LogTopic>> {
  const topics = new Map<string, LogTopic>()
  for (const topic of parts.topics) {
    const { name, value, key, upcasts, tags } = topic
    topics.set(name, await log.topic(compileContract(name, 'topic', value, key, upcasts, tags)))
  }
  return topics
}

/** Those that take appends: neither a source nor a decider writes them. */
const ownTopics = (parts: ApplicationParts, topics: ReadonlyMap<string, LogTopic>): ReadonlyMap<string, LogTopic> =>
  new Map(
    [...topics].filter(
      ([name]) =>
        !parts.topics.some(each => each.name === name && sourceTopicOf(each)) &&
        !parts.deciders.some(each => each.name === name),
    ),
  )

const openDeciders = (
  { deciders }: ApplicationParts,
  topics: ReadonlyMap<string, LogTopic>,
  engine: Engine,
): readonly OpenDecider[] =>
  deciders.map(definition => ({
    definition,
    topic: topics.get(definition.name)!,
    fold: new DeciderStates(definition, engine),
  }))

async function openSources(
  application: string,
  { parts, topics: registered }: { readonly parts: ApplicationParts; readonly topics: ReadonlyMap<string, LogTopic> },
  log: Log,
  dataDir: string,
  options: OpenOptions,
): Promise<ReadonlyMap<string, SourceConnector>> {
  const opening = parts.sources.map(async source => {
    const tables: CapturedTable[] = []
    for (const table of parts.tables) {
      if (table.source !== source) continue
      const contract = contractOfTable(table)
      tables.push({ table, contract, topic: await log.topic(contract) })
    }
    const topics = parts.topics.flatMap((each): CapturedTopic[] => {
      const declared = sourceTopicOf(each)
      const topic = declared?.source === source ? registered.get(each.name) : undefined
      return declared && topic ? [{ declared, contract: topic.contract, topic }] : []
    })
    return source.open({
      application,
      log,
      tables,
      topics,
      mirrorPath: join(dataDir, 'mirror', source.name),
      resnapshot: options.resnapshot?.includes(source.name) ?? false,
      onEvent: options.onEvent ?? (() => {}),
    })
  })
  const results = await Promise.allSettled(opening)
  const opened = results.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
  const failures = results.flatMap(result => (result.status === 'rejected' ? [result.reason as unknown] : []))
  if (failures.length > 0) {
    await Promise.all(opened.map(connector => connector.stop()))
    throw failures.length === 1 ? failures[0] : new AggregateError(failures, 'several sources cannot be opened')
  }
  return new Map(opened.map(connector => [connector.name, connector]))
}

async function listen(
  app: Application,
  options: OpenOptions,
  { closers, ...parts }: Pick<ServerOptions, 'reads' | 'topics' | 'commands'> & { closers: (() => Promise<void>)[] },
): Promise<string | undefined> {
  if (!options.listen) return undefined
  const settings = options.listen === true ? {} : options.listen
  const server = await openServer({ application: app.name, ...parts, ...settings })
  closers.push(() => server.close())
  return server.url
}
