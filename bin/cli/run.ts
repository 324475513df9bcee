// `mainstem run app.ts`: opens the application, serves it, says what happens, and stops cleanly.
import { type Command, Option } from 'commander'
import type { Application } from '../../projections/index.ts'
import { openApplication, type Running } from '../open-application.ts'
import { SHARDS_MAX } from '../open-engine.ts'
import { previewApplication } from '../preview-application.ts'
import { byteSize, wholeNumber, wholeNumberOrAuto } from './arguments.ts'
import { loadApplication } from './load-application.ts'
import { planLines, RunDisplay } from './run-display.ts'
import type { RunEvent, StatusEvent } from './run-events.ts'
import { formatOf, LOG_LEVELS, type LogFormat, type LogLevel, openRunLog } from './run-log.ts'
import { type ServeFlags, serverSettings, withServeOptions } from './serve-options.ts'
import { line } from './table.ts'

interface RunFlags extends ServeFlags {
  readonly dataDir?: string
  readonly resnapshot?: string[]
  readonly acceptHistoryGone?: string[]
  readonly continue?: string[]
  readonly fromSavepoint?: string
  readonly checkpointInterval: number
  readonly seal: boolean
  readonly logLimit?: number
  readonly logFreeMin?: number
  readonly stateLimit?: number
  readonly shards?: number | 'auto'
  readonly dryRun?: boolean
  readonly logFormat?: LogFormat
  readonly logLevel: LogLevel
  readonly json?: boolean
}

const STATUS_INTERVAL_MS = 1_000
/** Below it nearly every write would be refused. */
const LOG_LIMIT_MIN = 1_000_000
/** A view takes a page of 4 MiB at least. */
const STATE_LIMIT_MIN = 16_000_000

export function addRun(program: Command): void {
  const command = program
    .command('run')
    .description('run an application: read its sources, fold its views, serve them over HTTP')
    .argument('<app>', 'the file whose default export is the application')
  withServeOptions(command)
    .option('--data-dir <folder>', 'where log, mirrors and checkpoints live (default: .mainstem/<application>)')
    .option(
      '--resnapshot <source...>',
      'read these sources again, only differences become records: repairs lost slots, added tables',
    )
    .option(
      '--accept-history-gone <view...>',
      'make these views from what is left, where history that they would fold was removed',
    )
    .option(
      '--continue <view...>',
      'keep the checkpoints of these views although their code changed, instead of folding the log anew',
    )
    .option(
      '--from-savepoint <name|file>',
      'begin with the rows of a savepoint instead of the newest checkpoint, and fold what came after it',
    )
    .option('--checkpoint-interval <ms>', 'milliseconds between checkpoints', wholeNumber(0, 3_600_000), 1_000)
    .option('--no-seal', 'leave closed segments of the log as they are: five times the space, no background thread')
    .option(
      '--log-limit <size>',
      'what the log may take, e.g. 50GB: at 90 % of it sources pause, at all of it appends are refused (default: no limit)',
      byteSize(LOG_LIMIT_MIN),
    )
    .option(
      '--log-free-min <size>',
      'what the log leaves free on its volume, 0 for nothing (default: 256MiB, or a twentieth of a smaller volume)',
      byteSize(0),
    )
    .option(
      '--state-limit <size>',
      'what the rows of all views may take in memory (default: three fifths of the memory there is)',
      byteSize(STATE_LIMIT_MIN),
    )
    .option(
      '--shards <n>',
      'fold in so many threads, each with a part of the keys; auto: one less than there are cores; another start may take another number (default: with all else in one thread)',
      wholeNumberOrAuto(1, SHARDS_MAX),
    )
    .option(
      '--dry-run',
      'say what a start would do with each view, and end: nothing is written, locked or connected to',
    )
    .addOption(
      new Option(
        '--log-format <format>',
        'of standard error: lines for people, or JSON (default: text; json in production, NODE_ENV, where there is no terminal)',
      ).choices(['text', 'json']),
    )
    .addOption(new Option('--log-level <level>', 'what is told').choices(LOG_LEVELS).default('info'))
    .option('--json', 'one JSON object per event on stdout, instead of lines for people on stderr')
    .addHelpText('after', '\nExample:\n  SHOP_URL=postgres://me@localhost/shop mainstem run app.ts --port 8080')
    .action(run)
}

async function run(file: string, flags: RunFlags): Promise<void> {
  const log = openRunLog(flags.logFormat ?? formatOf(process.stderr), flags.logLevel)
  const display = flags.json ? jsonLines : log.show
  if (flags.dryRun) return preview(await loadApplication(file), flags)
  const stop = stopSignal()
  const app = await loadApplication(file)
  const running = await openApplication(app, {
    listen: { ...serverSettings(flags), log: log.server },
    checkpointIntervalMs: flags.checkpointInterval,
    seal: flags.seal,
    onEvent: display,
    ...(flags.logLimit === undefined ? {} : { logBytesMax: flags.logLimit }),
    ...(flags.stateLimit === undefined ? {} : { stateBytesMax: flags.stateLimit }),
    ...(flags.shards === undefined ? {} : { shards: flags.shards }),
    ...(flags.logFreeMin === undefined ? {} : { logFreeBytesMin: flags.logFreeMin }),
    ...(flags.dataDir === undefined ? {} : { dataDir: flags.dataDir }),
    ...(flags.acceptHistoryGone === undefined ? {} : { acceptHistoryGone: flags.acceptHistoryGone }),
    ...(flags.fromSavepoint === undefined ? {} : { fromSavepoint: flags.fromSavepoint }),
    ...(flags.continue === undefined ? {} : { continueFrom: flags.continue }),
    ...(flags.resnapshot === undefined ? {} : { resnapshot: flags.resnapshot }),
  })
  const status = setInterval(() => display(statusOf(running)), STATUS_INTERVAL_MS)
  await stop
  clearInterval(status)
  display({ event: 'stopping' })
  await running.close()
  display({ event: 'stopped' })
}

/** Says what a start would do. */
async function preview(app: Application, flags: RunFlags): Promise<void> {
  const { dataDir, acceptHistoryGone, fromSavepoint, continue: continueFrom } = flags
  const { plan, damage, stopped } = await previewApplication(app, {
    ...(dataDir === undefined ? {} : { dataDir }),
    ...(acceptHistoryGone === undefined ? {} : { acceptHistoryGone }),
    ...(fromSavepoint === undefined ? {} : { fromSavepoint }),
    ...(continueFrom === undefined ? {} : { continueFrom }),
  })
  const events: RunEvent[] = [
    ...(damage ? [{ event: 'checkpoint-damaged' as const, ...damage }] : []),
    plan,
    ...stopped.map(each => ({ event: 'view-stopped' as const, ...each })),
  ]
  const show = flags.json ? jsonLines : new RunDisplay(process.stdout).show
  for (const event of events)
    if (event !== plan || flags.json) show(event)
    else line(planLines(plan))
}

function statusOf(running: Running): StatusEvent {
  const { position, logEnd, recordsPerSecond, progress, lag } = running.engine.status()
  const total = running.engine.lagTotal()
  const sources = [...running.sources.values()].map(source => source.status())
  return {
    event: 'status',
    changes: sources.reduce((sum, source) => sum + source.changes, 0),
    logEnd,
    position,
    recordsPerSecond,
    progress,
    lagP50Ms: lag?.p50Ms ?? null,
    lagP99Ms: lag?.p99Ms ?? null,
    totalLagP50Ms: total?.p50Ms ?? null,
    totalLagP99Ms: total?.p99Ms ?? null,
    sources: sources.map(source => ({ name: source.name, state: source.state, position: source.position })),
  }
}

const jsonLines = (event: RunEvent): void => {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

/** Resolves at the first SIGINT or SIGTERM; a second one, a second or more later, ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise(resolve => {
    let firstMs: number | undefined
    const onSignal = () => {
      const nowMs = performance.now()
      if (firstMs !== undefined && nowMs - firstMs > 1_000) process.exit(130)
      firstMs ??= nowMs
      resolve()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}
