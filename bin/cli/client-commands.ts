// Commands that ask a running application by HTTP: views, get, sources.
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { SourceStatus } from '../../core/index.ts'
import { HOST_DEFAULT, PORT_DEFAULT, type SourceWire, type ViewSummary } from '../../query-api/index.ts'
import { wholeNumber } from './arguments.ts'
import { call, callText } from './http.ts'
import { byteSize, duration, formatTable, grouped, line } from './table.ts'

export interface ClientFlags {
  readonly url: string
  readonly json?: boolean
}

/** Adds `--url` and `--json`, which all commands that talk to a running application have. */
export const withClientOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--url <url>', 'where the application listens')
        .env('MAINSTEM_URL')
        .default(`http://${HOST_DEFAULT}:${PORT_DEFAULT}`)
        .argParser(parseUrl),
    )
    .option('--json', 'print JSON, one object as the last line')

function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return text
  throw new InvalidArgumentError(`expected an http or https URL such as http://${HOST_DEFAULT}:${PORT_DEFAULT}.`)
}

export function addClientCommands(program: Command): void {
  addViews(program)
  addGet(program)
  addSources(program)
}

function addViews(program: Command): void {
  withClientOptions(program.command('views').description('list the views of a running application'))
    .addHelpText('after', '\nExample:\n  mainstem views --url http://127.0.0.1:7070')
    .action(async ({ url, json }: ClientFlags) => {
      const answer = await call<{ views: readonly ViewSummary[] }>(url, '/v1/views')
      if (json) return line(JSON.stringify(answer))
      if (answer.views.length === 0) return line('  the application has no views')
      const rows = formatTable(answer.views, [
        { text: view => view.name },
        { text: view => `key ${view.key.map(column => column.type).join(',')}` },
        { text: view => (view.rows === null ? '' : `${grouped(view.rows)} rows`), align: 'right' },
        { text: view => `at ${grouped(view.position)}`, align: 'right' },
        { text: view => (view.ageMs === null ? '' : `lag ${duration(view.ageMs)}`) },
        {
          text: ({ indexes }) => (indexes.length > 0 ? `indexes ${indexes.map(indexText).join(' ')}` : ''),
        },
        { text: viewState },
        { text: view => (view.deadLetters?.count ? `${grouped(view.deadLetters.count)} dead letters` : '') },
      ])
      rows.forEach(line)
      for (const { name, error } of answer.views) if (error) line(`  ${name}: ${errorText(error)}`)
    })
}

/** `city+open_cents`, and how far it is while it is built. */
function indexText({ fields, state, progress }: ViewSummary['indexes'][number]): string {
  const name = fields.join('+')
  if (progress) return `${name} (building: ${grouped(progress.done)} of ${grouped(progress.total)} rows)`
  return state === 'failed' ? `${name} (failed)` : name
}

function viewState({ status, waitingFor, progress }: ViewSummary): string {
  if (progress) {
    const { done, total, recordsPerSecond, secondsLeft } = progress
    const left = secondsLeft === null ? '' : `, ${duration(secondsLeft * 1_000)} left`
    return `${status}: ${grouped(done)} of ${grouped(total)} records, ${grouped(recordsPerSecond)}/s${left}`
  }
  return waitingFor ? `${status}: waits for ${waitingFor}` : status
}

const errorText = ({ code, message, detail, hint }: NonNullable<ViewSummary['error']>): string =>
  `${code} ${message}${detail ? `. ${detail}` : ''}${hint ? ` → ${hint}` : ''}`

/**
 * A key as typed, as a segment of a URL: commas stay (they separate the parts of a composite key), and so does what is
 * percent-encoded already (%2C is a comma inside of a part).
 */
export const keySegment = (typed: string): string =>
  typed
    .split(/(%[0-9A-Fa-f]{2}|,)/)
    .map((part, n) => (n % 2 === 1 ? part : encodeURIComponent(part)))
    .join('')

interface GetFlags extends ClientFlags {
  readonly after?: readonly string[]
  readonly timeout?: number
  readonly at?: string
  readonly sources?: boolean
}

/** What reads of the past take. */
export const AT_OPTION = [
  '--at <place>',
  'read the past: a position of the log, a time such as 2026-11-01T09:00:00Z, or savepoint:NAME',
] as const

function addGet(program: Command): void {
  withClientOptions(program.command('get').description('print one row of a view, and how fresh it is'))
    .argument('<view>', 'name of the view')
    .argument('<key>', 'the key; parts of a composite key separated by commas, a comma within a part as %2C')
    .option(
      '--after <token...>',
      'wait until the view includes these writes: <source>:<position>, or what an append returned',
    )
    .option('--timeout <ms>', 'how long to wait for them', wholeNumber(0, 60_000))
    .option(...AT_OPTION)
    .option('--sources', 'also print up to where each source is in the answer')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem get accounts 42\n  mainstem get accounts 42 --after shop:0/1A2B4F0 --timeout 10000\n  mainstem get accounts 42 --at 2026-11-01T09:00:00Z',
    )
    .action(async (view: string, key: string, { url, after, timeout, at, sources }: GetFlags) => {
      const path = `/v1/views/${encodeURIComponent(view)}/rows/${keySegment(key)}`
      line(await callText(url, path, { query: { after, timeoutMs: timeout, at, sources } }))
    })
}

function addSources(program: Command): void {
  withClientOptions(
    // Options of `sources drop` are its own, although `sources` has some of the same names.
    program
      .command('sources')
      .enablePositionalOptions()
      .description('list the sources of a running application and how far they are'),
  )
    .addHelpText('after', '\nExample:\n  mainstem sources')
    .action(async ({ url, json }: ClientFlags) => {
      const answer = await call<{ sources: readonly SourceWire[] }>(url, '/v1/sources')
      if (json) return line(JSON.stringify(answer))
      if (answer.sources.length === 0) return line('  the application has no sources')
      const rows = formatTable(answer.sources, [
        { text: source => source.name },
        { text: source => source.technology },
        { text: sourceState },
        { text: source => (source.position ? `at ${source.position}` : '') },
        { text: source => (source.lagBytes === null ? '' : `behind ${byteSize(source.lagBytes)}`) },
        { text: source => (source.ageMs === null ? '' : `lag ${duration(source.ageMs)}`) },
        { text: source => `${grouped(source.changes)} changes`, align: 'right' },
        { text: ({ changesPerSecond }) => (changesPerSecond ? `${grouped(Math.round(changesPerSecond))}/s` : '') },
        { text: source => (source.parked > 0 ? `${grouped(source.parked)} parked` : '') },
        { text: source => (source.walHeldBytes === null ? '' : `server keeps ${byteSize(source.walHeldBytes)}`) },
        { text: source => (source.slot ? `slot ${source.slot}` : '') },
      ])
      rows.forEach(line)
      for (const { name, error, lastError } of answer.sources) {
        if (error) line(`  ${name}: ${errorText(error)}`)
        else if (lastError) line(`  ${name}: well again since the error of ${lastError.at}: ${errorText(lastError)}`)
      }
    })
}

function sourceState({ state, snapshot, waitingFor }: SourceStatus): string {
  if (state === 'snapshotting' && snapshot && !snapshot.paused)
    return `snapshotting ${grouped(snapshot.rows)} of ${grouped(snapshot.rowsEstimated)} rows`
  const beside = snapshot
    ? `, ${snapshot.paused ? 'snapshot paused at' : 'reading'} ${grouped(snapshot.rows)} of ${grouped(snapshot.rowsEstimated)} rows`
    : ''
  return `${waitingFor ? `${state}: waits for ${waitingFor}` : state}${beside}`
}
