// A bounded run: an application's views over files of records, by the engine that follows logs. Nothing is appended or served.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Contract,
  compileContract,
  contractOfTable,
  errorOf,
  type FileInput,
  type FileLog,
  fail,
  openFileLog,
} from '../core/index.ts'
import {
  type Application,
  type ApplicationParts,
  type Engine,
  type EngineEvent,
  fingerprintOf,
  openEngine,
  partsOf,
  shapeOf,
} from '../projections/index.ts'
import { type Client, createLocalClient, type ExportFormat, exportText, openReads } from '../query-api/index.ts'

/** A file of records of a topic, or of a captured table: its rows then are inserts, each key once. */
export interface TopicFile extends FileInput {
  /** Its name in the application. */
  readonly topic: string
}

export interface FoldFilesOptions {
  /** Folded one after the other, in the order given. Topics and tables without a file have no records. */
  readonly inputs: readonly TopicFile[]
  /**
   * A folder for checkpoints: a later call with the same files and code goes on from there, after a kill too. Default: a temporary
   * one, which is removed at the end.
   */
  readonly stateDir?: string
  /** What is done with a record that is none, or not of its contract: `stop` rejects, `skip` leaves it out. Default `stop`. */
  readonly onInvalid?: 'stop' | 'skip'
  /** Is told of each record that is left out: file, line, byte and reason. */
  readonly onSkipped?: (error: Error) => void
  /** What the rows of all views may take in memory, in bytes. Default: three fifths of the memory of the machine or container. */
  readonly stateBytesMax?: number
  /** Ends it early: it rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Is told a few times a second how far it is. */
  readonly onProgress?: (progress: FoldProgress) => void
}

export interface FoldProgress {
  /** Of all files. */
  readonly bytes: number
  readonly bytesTotal: number
  /** Folded by this call. */
  readonly records: number
  /** Left out by this call. */
  readonly skipped: number
}

/** What was folded: views that do not change any more, until it is closed. */
export interface Folded<A extends Application = Application> extends AsyncDisposable {
  readonly client: Client<A>
  /** Folded by this call. */
  readonly records: number
  /** Left out by this call. */
  readonly skipped: number
  readonly seconds: number
  readonly views: readonly { readonly view: string; readonly rows: number; readonly stateBytes: number }[]
  /** A view's rows as text, some at a time; the last line of `ndjson` says how many there are. @throws VIEW_UNKNOWN */
  export(view: string, format?: ExportFormat): AsyncIterable<string>
  close(): Promise<void>
}

const PROGRESS_MS = 200
/** While it matters; not at all where the folder goes at the end. */
const CHECKPOINT_MS = 1_000
const NEVER_MS = 2 ** 31 - 1

/**
 * Folds an application's views over files of records, to their end: a batch run of what `openApplication` runs for ever.
 * Resolves when every record is folded. What projections emit is not published.
 * @throws TOPIC_UNKNOWN, REQUEST_INVALID for a file that cannot be read, RECORD_REFUSED and RECORD_TOO_LARGE naming file, line and byte,
 * and what stopped a view: HANDLER_FAILED, STATE_TOO_LARGE …
 * @example
 * await using folded = await foldFiles(app, { inputs: [{ topic: 'orders', path: 'orders.ndjson' }] })
 * const { value } = await folded.client.views.customers.get(42)
 */
export async function foldFiles<A extends Application>(app: A, options: FoldFilesOptions): Promise<Folded<A>> {
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const each of closers.splice(0).reverse()) await each()
  }
  try {
    return await fold(app, options, closers, close)
  } catch (error) {
    await close().catch(() => {})
    throw error
  }
}

async function fold<A extends Application>(
  app: A,
  options: FoldFilesOptions,
  closers: (() => Promise<unknown>)[],
  close: () => Promise<void>,
): Promise<Folded<A>> {
  const startedMs = performance.now()
  const parts = partsOf(app)
  const { stateDir, stateBytesMax, onInvalid = 'stop', onSkipped = () => {}, signal } = options
  const log = await openFileLog({ inputs: inputsOf(parts, options.inputs), onInvalid, onSkipped })
  closers.push(() => log.close())
  for (const contract of contractsOf(parts).values()) await log.topic(contract)
  const path = stateDir ?? (await mkdtemp(join(tmpdir(), 'mainstem-fold-')))
  if (stateDir === undefined) closers.push(() => rm(path, { recursive: true, force: true }))
  const stopped = new AbortController()
  const engine = await openEngine({
    log,
    parts,
    path,
    fingerprint: await fingerprintOf(app.file, shapeOf(parts)),
    checkpointIntervalMs: stateDir === undefined ? NEVER_MS : CHECKPOINT_MS,
    onEvent: event => stopAt(event, stopped),
    ...(stateBytesMax === undefined ? {} : { stateBytesMax }),
  })
  closers.push(() => engine.stop())
  const progress = () => options.onProgress?.(progressOf(engine, log))
  const timer = setInterval(progress, PROGRESS_MS)
  try {
    await engine.waitFor(log.end, signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal)
    stopped.signal.throwIfAborted()
  } finally {
    clearInterval(timer)
  }
  progress()
  const reads = openReads({ engine, log, sources: new Map() })
  closers.push(async () => reads.close())
  return {
    client: createLocalClient<A>(reads),
    records: log.records,
    skipped: log.skipped,
    seconds: (performance.now() - startedMs) / 1_000,
    views: [...engine.views.values()].map(view => {
      const { name, rows, stateBytes } = view.status()
      return { view: name, rows, stateBytes }
    }),
    export: async function* (view, format = 'ndjson') {
      yield* exportText(reads.view(view), await engine.past.rows(view, undefined), format)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

const progressOf = (engine: Engine, log: FileLog): FoldProgress => ({
  bytes: engine.position,
  bytesTotal: log.end,
  records: log.records,
  skipped: log.skipped,
})

/** A run that is to end has nothing to wait for once a view has stopped. */
function stopAt(event: EngineEvent, stopped: AbortController): void {
  if (event.event === 'view-stopped') stopped.abort(errorOf(event))
}

function contractsOf({ topics, tables }: ApplicationParts): ReadonlyMap<string, Contract> {
  return new Map<string, Contract>([
    ...topics.map(
      ({ name, value, key, upcasts, tags }) =>
        [name, compileContract(name, 'topic', value, key, upcasts, tags)] as const,
    ),
    ...tables.map(table => [table.name, contractOfTable(table)] as const),
  ])
}

/** @throws TOPIC_UNKNOWN */
function inputsOf(
  parts: ApplicationParts,
  inputs: FoldFilesOptions['inputs'],
): readonly (FileInput & { contract: Contract })[] {
  const contracts = contractsOf(parts)
  return inputs.map(({ topic, ...file }) => {
    const contract = contracts.get(topic)
    if (contract) return { contract, ...file }
    throw fail('TOPIC_UNKNOWN', `the application has no topic or table '${topic}'`, {
      detail: `it has ${[...contracts.keys()].join(', ') || 'none'}`,
    })
  })
}
