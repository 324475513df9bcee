// `mainstem lineage` and `mainstem export`: how a row came to be, and all rows of a view at one cut.
import { type Command, Option } from 'commander'
import { fail } from '../../core/index.ts'
import { EXPORT_FORMATS, type ExportFormat, type LineageStepWire, type LineageWire } from '../../query-api/index.ts'
import { wholeNumber } from './arguments.ts'
import { AT_OPTION, type ClientFlags, keySegment, withClientOptions } from './client-commands.ts'
import { callStream, callText } from './http.ts'
import { Progress } from './log/progress.ts'
import { Interruption, writeFile, writeOut } from './log/stream.ts'
import { formatTable, grouped, line, transactionText } from './table.ts'

const LINEAGE_MAX = 1_000
const LIMIT_DEFAULT = 20

interface LineageFlags extends ClientFlags {
  readonly field?: string
  readonly limit: number
  readonly before?: number
  readonly at?: string
}

export function addLineage(program: Command): void {
  withClientOptions(program.command('lineage').description('list the records that made a row, and what each did to it'))
    .argument('<view>', 'name of the view')
    .argument('<key>', 'the key; parts of a composite key separated by commas, a comma within a part as %2C')
    .option('--field <name>', 'only records that changed this field')
    .option('--limit <n>', 'the newest so many', wholeNumber(1, LINEAGE_MAX), LIMIT_DEFAULT)
    .option('--before <position>', 'only records before this one', wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .option(...AT_OPTION)
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem lineage accounts 42\n  mainstem lineage accounts 42 --field open_cents',
    )
    .action(async (view: string, key: string, { url, json, field, limit, before, at }: LineageFlags) => {
      const path = `/v1/views/${encodeURIComponent(view)}/rows/${keySegment(key)}/lineage`
      const text = await callText(url, path, { query: { field, limit, before, at } })
      if (json) return line(text)
      const { steps, next, position } = JSON.parse(text) as LineageWire
      if (steps.length === 0) return line(`  no record went to it up to position ${grouped(position)}`)
      if (next !== null) line(`  … older ones with --before ${next}`)
      // The newest last, where the prompt is.
      const rows = formatTable(steps.toReversed(), [
        { text: step => grouped(step.position), align: 'right' },
        { text: ({ source }) => (source ? `${source.source} ${source.position}` : '') },
        {
          text: ({ source }) => transactionText(source),
        },
        { text: ({ op, topic, record }) => `${op} ${topic} ${keyText(record.key)}` },
        { text: step => changeText(step, field) },
      ])
      rows.forEach(line)
    })
}

const keyText = (key: unknown): string =>
  typeof key === 'object' && key !== null ? Object.values(key).join(',') : String(key)

/** `0 → 2500` of one field; of a row the fields that changed. */
function changeText({ before, after }: LineageStepWire, field: string | undefined): string {
  const value = (row: LineageStepWire['before'], name: string) => (row === null ? '–' : JSON.stringify(row[name]))
  if (field !== undefined) return `${value(before, field)} → ${value(after, field)}`
  if (after === null) return before === null ? '' : 'gone'
  const changed = Object.keys(after).filter(name => before === null || value(before, name) !== value(after, name))
  return changed
    .map(name => `${name} ${before === null ? value(after, name) : `${value(before, name)} → ${value(after, name)}`}`)
    .join('  ')
}

interface ExportFlags extends ClientFlags {
  readonly at?: string
  readonly format?: ExportFormat
  readonly out?: string
}

export function addExport(program: Command): void {
  withClientOptions(program.command('export').description('write all rows of a view at one cut'))
    .argument('<view>', 'name of the view')
    .addOption(new Option('--format <format>', 'default: by the name of --out, else ndjson').choices(EXPORT_FORMATS))
    .option(...AT_OPTION)
    .option('--out <file>', 'a new file; compressed where its name ends in .gz or .zst (default: standard output)')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem export accounts --out accounts.csv\n  mainstem export accounts --at 2026-11-01 --out accounts.ndjson.zst\n\nRows come in no order. The last line of ndjson says the position and how many rows there were: a text without it is not whole.',
    )
    .action(exportView)
}

async function exportView(view: string, { url, json, at, out, format = formatOf(out) }: ExportFlags): Promise<void> {
  const path = `/v1/views/${encodeURIComponent(view)}/export`
  const { headers, pieces } = await callStream(url, path, { query: { format, at } })
  const position = headers.get('mainstem-position') ?? ''
  // Not said where a policy leaves out rows.
  const said = headers.get('mainstem-rows')
  const expected = said === null ? undefined : Number(said)
  let rows = 0
  const progress = new Progress(perSecond => `${grouped(Math.round(perSecond))} rows/s`)
  const counted = counting(pieces, format, expected, done => {
    rows = done
    progress.show(done, expected ?? done)
  })
  if (out === undefined) return writeOut(counted).finally(() => progress.end())
  using interruption = new Interruption()
  await writeFile(out, counted, interruption.signal).finally(() => progress.end())
  if (json) return line(JSON.stringify({ file: out, view, position, rows }))
  line(`  ${grouped(rows)} rows of ${view} at ${grouped(position)} → ${out}`)
}

const formatOf = (out: string | undefined): ExportFormat => (/\.csv(\.gz|\.zst)?$/i.test(out ?? '') ? 'csv' : 'ndjson')

/** Passes the text on, and counts its rows: an answer that was cut short may end anywhere. @throws APPLICATION_UNREACHABLE */
async function* counting(
  pieces: AsyncIterable<string>,
  format: ExportFormat,
  rows: number | undefined,
  onProgress: (done: number) => void,
): AsyncGenerator<string> {
  // A line more than there are rows: the head of csv, the end of ndjson.
  let lines = -1
  let quoted = false
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; at++) {
      const char = piece.charCodeAt(at)
      if (char === 34 && format === 'csv') quoted = !quoted
      else if (char === 10 && !quoted) lines++
    }
    yield piece
    onProgress(Math.max(lines, 0))
  }
  if (rows !== undefined && lines !== rows)
    throw fail('APPLICATION_UNREACHABLE', 'the export was cut short', {
      detail: `${Math.max(lines, 0)} of ${rows} rows`,
    })
}
