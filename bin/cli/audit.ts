// `mainstem audit`: a running application compares a source's tables with what its log has of them; this asks it to, waits and tells.
import type { Command } from 'commander'
import type { AuditProgress, AuditReport, TableAudit } from '../../core/index.ts'
import { wholeNumber } from './arguments.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { EXIT } from './exit.ts'
import { call } from './http.ts'
import { duration, formatTable, grouped, line } from './table.ts'
import { reportOf } from './until-ended.ts'

/** Keys named for each table; `--json` has up to 1,000. */
const KEYS_SHOWN = 20

interface AuditFlags extends ClientFlags {
  readonly repair?: boolean
  readonly rate?: number
}

export function addAudit(program: Command): void {
  withClientOptions(
    program
      .command('audit')
      .description(
        'compare the tables of a database with what the log has of them, at one position, while all goes on: exit code 1 where they differ',
      ),
  )
    .argument('<source>', 'name of the source')
    .argument('[tables...]', 'names of tables, as in the database (default: all captured ones)')
    .option('--repair', 'read rows again whose keys differ, so that the log has them as the database does')
    .option('--rate <rows>', 'rows read in a second, at most', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .addHelpText('after', '\nExample:\n  mainstem audit shop orders --rate 50000')
    .action(async (source: string, tables: readonly string[], { url, json, repair = false, rate }: AuditFlags) => {
      const path = `/v1/sources/${encodeURIComponent(source)}/audit`
      const body = { ...(tables.length > 0 ? { tables } : {}), ...(rate ? { rowsPerSecondMax: rate } : {}), repair }
      await call(url, path, { method: 'POST', body })
      const report = await audited(url, path)
      if (json) line(JSON.stringify(report))
      else for (const text of reportLines(source, report)) line(text)
      if (!report.equal && report.repaired === null) process.exitCode = EXIT.failed
    })
}

/** One that is interrupted is cancelled. */
async function audited(url: string, path: string): Promise<AuditReport> {
  const cancel = () => {
    void call(url, path, { method: 'DELETE' }).catch(() => {})
  }
  process.once('SIGINT', cancel)
  try {
    const job = { url, path, what: 'the audit', unit: 'rows' } as const
    return await reportOf<AuditReport, AuditProgress>(job, ({ rows, rowsEstimated }, show) => show(rows, rowsEstimated))
  } finally {
    process.off('SIGINT', cancel)
  }
}

function reportLines(source: string, { position, seconds, tables, repaired }: AuditReport): string[] {
  return [
    ...formatTable(tables, [
      { text: ({ table }) => table },
      { text: ({ rows }) => `${grouped(rows)} rows`, align: 'right' },
      { text: ({ parked }) => (parked > 0 ? `${grouped(parked)} parked` : '') },
      { text: ({ hash }) => hash },
      { text: outcome },
    ]),
    ...tables.flatMap(keyLines),
    `  ${source} at ${position}: compared in ${duration(seconds * 1_000)}`,
    ...(repaired === null ? [] : [`  ${grouped(repaired)} keys were read again`]),
  ]
}

const outcome = ({ mismatches, mirrorRows, chunks, chunksDiffering }: TableAudit): string =>
  mismatches === 0
    ? 'equal'
    : `${grouped(mismatches)} keys DIFFER, in ${grouped(chunksDiffering)} of ${grouped(chunks)} parts; the log has ${grouped(mirrorRows)} rows`

function keyLines({ table, keys, mismatches }: TableAudit): string[] {
  const shown = keys.slice(0, KEYS_SHOWN)
  const rest = mismatches - shown.length
  return [
    ...shown.map(
      ({ key, kind, columns }) => `  ${table} ${key}: ${kind}${columns.length > 0 ? ` in ${columns.join(', ')}` : ''}`,
    ),
    ...(rest > 0 ? [`  … and ${grouped(rest)} more${mismatches > keys.length ? '' : ' (--json has them)'}`] : []),
  ]
}
