// `mainstem log export`: the log, or a part of it, as lines of JSON that `mainstem log import` takes.
import type { Command } from 'commander'
import { type Exported, exportLog } from '../../../core/index.ts'
import { wholeNumber } from '../arguments.ts'
import { grouped, line } from '../table.ts'
import { type FolderFlags, inFolder, withFolderOptions } from './folder.ts'
import { Progress } from './progress.ts'
import { Interruption, writeFile, writeOut } from './stream.ts'

interface ExportFlags extends FolderFlags {
  readonly from: number
  readonly to?: number
  readonly out?: string
}

export function addExport(log: Command): void {
  withFolderOptions(log.command('export').description('write records as lines of JSON, exactly as they are stored'))
    .argument('[topics...]', 'only these topics (default: all, and with them how far sources were read)')
    .option('--from <position>', 'batches that begin here or later', wholeNumber(1, Number.MAX_SAFE_INTEGER), 1)
    .option(
      '--to <position>',
      'batches that begin here or before (default: the end)',
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
    .option('--out <file>', 'a new file; compressed where its name ends in .gz or .zst (default: standard output)')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem log export --data-dir .mainstem/truth --out truth.ndjson.zst\n  mainstem log export purchases --data-dir .mainstem/hello | head\n\nRead from the files only: the HTTP API does not tell batches, nor old shapes of records. Batches stay whole. The last line says\nhow many records there were; a text without it is not whole.',
    )
    .action(run)
}

const run = (topics: readonly string[], flags: ExportFlags): Promise<void> =>
  inFolder(flags.dataDir, async folder => {
    const { from, to = folder.end, out } = flags
    const progress = new Progress(perSecond => `${grouped(Math.round(perSecond))} records/s`)
    let done: Exported = { records: 0, batches: 0, position: from - 1 }
    const onProgress = (position: number) => progress.show(position - from + 1, to - from + 1)
    const pieces = async function* () {
      done = yield* exportLog(folder, { topics, from, to, onProgress })
    }
    if (out === undefined) return writeOut(pieces()).finally(() => progress.end())
    using interruption = new Interruption()
    await writeFile(out, pieces(), interruption.signal).finally(() => progress.end())
    if (flags.json) return line(JSON.stringify({ file: out, records: done.records, batches: done.batches }))
    line(`  ${grouped(done.records)} records in ${grouped(done.batches)} batches → ${out}`)
  })
