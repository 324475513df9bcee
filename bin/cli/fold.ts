// `mainstem fold app.ts --input topic=file`: an application's views over files of records, to their end, and out again as files.
import { type Command, InvalidArgumentError, Option } from 'commander'
import { describeError, fail } from '../../core/index.ts'
import { EXPORT_FORMATS, type ExportFormat } from '../../query-api/index.ts'
import { type Folded, foldFiles } from '../fold-files.ts'
import { byteSize } from './arguments.ts'
import { loadApplication } from './load-application.ts'
import { Progress } from './log/progress.ts'
import { Interruption, writeFile, writeOut } from './log/stream.ts'
import { byteSize as bytesText, duration, formatTable, grouped, line } from './table.ts'

/** `name=file`; `file` undefined where there is none. */
interface Named {
  readonly name: string
  readonly file: string | undefined
}

interface FoldFlags {
  readonly input: readonly Named[]
  readonly export?: readonly Named[]
  readonly format: ExportFormat
  readonly stateDir?: string
  readonly skipInvalid?: boolean
  readonly stateLimit?: number
  readonly json?: boolean
}

/** Of records that are left out, told one by one. */
const SKIPPED_SHOWN = 5
/** A view takes a page of 4 MiB at least. */
const STATE_LIMIT_MIN = 16_000_000

export function addFold(program: Command): void {
  program
    .command('fold')
    .description(
      "fold an application's views over files of records, once, and write them out: no log, no sources, no server",
    )
    .argument('<app>', 'the file whose default export is the application')
    .requiredOption(
      '--input <topic=file>',
      'lines of JSON (NDJSON), each a record of the topic, or a row of the table; may be given several times, folded in that order',
      inputFile,
    )
    .option(
      '--export <view[=file]>',
      'write a view, into a new file or to standard output; may be given several times',
      viewFile,
    )
    .addOption(new Option('--format <format>', 'of what is written').choices(EXPORT_FORMATS).default('ndjson'))
    .option('--skip-invalid', 'leave out records that are not of their contract, and count them, instead of stopping')
    .option(
      '--state-dir <folder>',
      'keep checkpoints there: the same command goes on after an end or a kill (default: none)',
    )
    .option(
      '--state-limit <size>',
      'what the rows of all views may take in memory (default: three fifths of the memory there is)',
      byteSize(STATE_LIMIT_MIN),
    )
    .option('--json', 'one JSON object as the last line, instead of lines for people')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem fold app.ts --input orders=orders.ndjson --export customers > customers.ndjson\n  mainstem fold app.ts --input orders=2025.ndjson --input orders=2026.ndjson --export customers=customers.csv.gz --format csv',
    )
    .action(run)
}

function named(text: string, before: readonly Named[] = []): readonly Named[] {
  const at = text.indexOf('=')
  const each = at < 0 ? { name: text, file: undefined } : { name: text.slice(0, at), file: text.slice(at + 1) }
  return [...before, each]
}

function inputFile(text: string, before?: readonly Named[]): readonly Named[] {
  const all = named(text, before)
  if (!all.at(-1)?.file) throw new InvalidArgumentError('expected topic=file.')
  return all
}

function viewFile(text: string, before?: readonly Named[]): readonly Named[] {
  const all = named(text, before)
  if (all.at(-1)?.file === '') throw new InvalidArgumentError('expected view, or view=file.')
  return all
}

async function run(path: string, flags: FoldFlags): Promise<void> {
  const exports = flags.export ?? []
  const toOut = exports.filter(({ file }) => file === undefined)
  if (toOut.length > 1 || (toOut.length > 0 && flags.json))
    throw fail('REQUEST_INVALID', 'standard output takes one thing', { hint: 'give files: --export view=file' })
  using interruption = new Interruption()
  const app = await loadApplication(path)
  await using folded = await foldWith(app, flags, interruption.signal)
  for (const { name, file } of exports) {
    const text = folded.export(name, flags.format)
    await (file === undefined ? writeOut(text) : writeFile(file, text, interruption.signal))
  }
  if (flags.json) line(JSON.stringify(summaryOf(folded, exports)))
  else if (toOut.length === 0) for (const each of linesOf(folded, exports)) line(each)
}

async function foldWith(
  app: Awaited<ReturnType<typeof loadApplication>>,
  flags: FoldFlags,
  signal: AbortSignal,
): Promise<Folded> {
  for (const { name } of flags.export ?? [])
    if (!app.views.some(view => view.name === name))
      throw fail('VIEW_UNKNOWN', `the application has no view '${name}'`, {
        detail: `it has ${app.views.map(view => view.name).join(', ') || 'none'}`,
      })
  let records = 0
  let skipped = 0
  const shown: Progress = new Progress(() => `${grouped(Math.round(shown.perSecond(records)))} records/s`)
  try {
    return await foldFiles(app, {
      inputs: flags.input.map(({ name, file }) => ({ topic: name, path: file! })),
      onInvalid: flags.skipInvalid ? 'skip' : 'stop',
      onSkipped: error => {
        if (++skipped <= SKIPPED_SHOWN) process.stderr.write(`  left out: ${describeError(error)}\n`)
      },
      signal,
      onProgress: progress => {
        records = progress.records
        shown.show(progress.bytes, progress.bytesTotal)
      },
      ...(flags.stateDir === undefined ? {} : { stateDir: flags.stateDir }),
      ...(flags.stateLimit === undefined ? {} : { stateBytesMax: flags.stateLimit }),
    })
  } finally {
    shown.end()
  }
}

const summaryOf = ({ records, skipped, seconds, views }: Folded, exports: readonly Named[]) => ({
  records,
  skipped,
  seconds: Math.round(seconds * 1_000) / 1_000,
  views,
  files: exports.map(({ name, file }) => ({ view: name, file })),
})

function linesOf({ records, skipped, seconds, views }: Folded, exports: readonly Named[]): string[] {
  const rate = grouped(Math.round(records / Math.max(seconds, 0.001)))
  return [
    ...formatTable(views, [
      { text: ({ view }) => view },
      { text: ({ rows }) => `${grouped(rows)} rows`, align: 'right' },
      { text: ({ stateBytes }) => bytesText(stateBytes), align: 'right' },
      {
        text: ({ view }) => exports.flatMap(({ name, file }) => (name === view && file ? [`→ ${file}`] : [])).join(' '),
      },
    ]),
    `  ${grouped(records)} records in ${duration(seconds * 1_000)} (${rate} records/s)${skipped > 0 ? `, ${grouped(skipped)} left out` : ''}`,
  ]
}
