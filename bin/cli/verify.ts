// `mainstem verify`: a running application folds its log anew beside its views and compares; this asks it to, waits and tells.
import type { Command } from 'commander'
import type { VerifiedViewWire, VerifyWire } from '../../query-api/index.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { EXIT } from './exit.ts'
import { call } from './http.ts'
import { duration, formatTable, grouped, line } from './table.ts'
import { reportOf } from './until-ended.ts'

type Report = NonNullable<VerifyWire['report']>
type Progress = NonNullable<VerifyWire['progress']>

export function addVerify(program: Command): void {
  withClientOptions(
    program
      .command('verify')
      .description(
        'fold the log anew beside the views of a running application, and compare: exit code 1 on a difference',
      ),
  )
    .argument('[views...]', 'names of views (default: all of them)')
    .addHelpText('after', '\nExample:\n  mainstem verify accounts')
    .action(async (views: readonly string[], { url, json }: ClientFlags) => {
      await call(url, '/v1/verify', { method: 'POST', body: views.length > 0 ? { views } : {} })
      const job = { url, path: '/v1/verify', what: 'the verification', unit: 'records' } as const
      const report = await reportOf<Report, Progress>(job, ({ done, total }, show) => show(done, total))
      if (json) line(JSON.stringify(report))
      else for (const text of reportLines(report)) line(text)
      if (!report.views.every(isFine)) process.exitCode = EXIT.failed
    })
}

/** What history was removed for cannot be verified, and is no fault. */
const isFine = ({ equal, error }: VerifiedViewWire): boolean => equal === true || error?.code === 'VIEW_HISTORY_GONE'

function reportLines({ position, records, seconds, views }: Report): string[] {
  return [
    ...formatTable(views, [
      { text: ({ view }) => view },
      { text: ({ equal, rows }) => (equal === null ? '' : `${grouped(rows)} rows`), align: 'right' },
      { text: ({ hash }) => hash ?? '' },
      { text: outcome },
    ]),
    ...views.flatMap(differenceLines),
    `  up to position ${grouped(position)}: ${grouped(records)} records folded anew in ${duration(seconds * 1_000)}`,
  ]
}

function outcome({ equal, differences, deadLetterDifferences: letters }: VerifiedViewWire): string {
  if (equal === null) return 'not verified'
  if (equal) return 'equal'
  const what = [
    differences > 0 ? `${grouped(differences)} keys` : '',
    letters > 0 ? `${grouped(letters)} dead letters` : '',
  ]
  return `${what.filter(Boolean).join(', ')} DIFFER`
}

function differenceLines({ view, first, error }: VerifiedViewWire): string[] {
  if (error) return [`  ${view}: ${error.code} ${error.message}${error.detail ? `. ${error.detail}` : ''}`]
  if (!first) return []
  const side = (row: typeof first.live) => (row ? `${JSON.stringify(row.value)} of ${grouped(row.support)}` : 'no row')
  return [
    `  ${view}: first at key ${JSON.stringify(first.key)}`,
    `    live      ${side(first.live)}`,
    `    the log   ${side(first.refolded)}`,
    ...(first.lastRecord ? [`    last record of the key: position ${grouped(first.lastRecord)}`] : []),
  ]
}
