// `mainstem replay`: a running application folds its log anew beside a view and exchanges rows that differ; this asks it to, waits
// and tells.
import type { Command } from 'commander'
import type { ReplayWire } from '../../query-api/index.ts'
import { wholeNumber } from './arguments.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { call } from './http.ts'
import { duration, grouped, line } from './table.ts'
import { reportOf } from './until-ended.ts'

interface ReplayFlags extends ClientFlags {
  readonly from: number
  readonly dryRun?: boolean
}

export function addReplay(program: Command): void {
  withClientOptions(
    program
      .command('replay')
      .description('fold the log anew beside a view of a running application, and exchange rows that differ'),
  )
    .argument('<view>', 'name of the view; those that it folds or that fold it are replayed with it')
    .option(
      '--from <position>',
      'where to begin: with the nearest savepoint or kept checkpoint at or before it; 0: the beginning of the log',
      wholeNumber(0, Number.MAX_SAFE_INTEGER),
      0,
    )
    .option('--dry-run', 'only compare')
    .addHelpText('after', '\nExample:\n  mainstem replay accounts --from 0 --dry-run')
    .action(async (view: string, { url, json, from, dryRun = false }: ReplayFlags) => {
      const path = `/v1/views/${encodeURIComponent(view)}/replay`
      await call(url, path, { method: 'POST', body: { from: String(from), dryRun } })
      const job = { url, path, what: 'the replay', unit: 'records' } as const
      const report = await reportOf<Report, Progress>(job, ({ done, total }, show) => show(done, total))
      if (json) line(JSON.stringify(report))
      else for (const text of reportLines(report, dryRun)) line(text)
    })
}

type Report = NonNullable<ReplayWire['report']>
type Progress = NonNullable<ReplayWire['progress']>

function reportLines({ from, base, records, seconds, position, views, switchedAt }: Report, dryRun: boolean): string[] {
  const differences = views.reduce((sum, view) => sum + view.differences + view.deadLetterDifferences, 0)
  const end =
    switchedAt !== null
      ? `exchanged at ${grouped(switchedAt)}`
      : differences === 0
        ? 'nothing to exchange'
        : 'left as they are'
  return [
    ...(base
      ? [`  begun with the rows of ${base.kind} ${base.name === null ? '' : `${base.name} `}at ${grouped(from)}`]
      : []),
    `  ${grouped(records)} records in ${duration(seconds * 1_000)}, folded beside the live views up to ${grouped(position)}`,
    ...views.map(differenceLine),
    `  ${end}${dryRun && differences > 0 ? ' (--dry-run)' : ''}`,
  ]
}

function differenceLine({ view, differences, rows, deadLetterDifferences: letters }: Report['views'][number]): string {
  const of = letters > 0 ? `, and ${grouped(letters)} dead letters` : ''
  return `  ${view}: ${grouped(differences)} of ${grouped(rows)} rows differ${of}`
}
