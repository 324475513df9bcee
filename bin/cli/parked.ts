// `mainstem parked`: the rows that their contracts refused, listed, and read again.
import { type Command, InvalidArgumentError } from 'commander'
import { fail, type SourceStatus } from '../../core/index.ts'
import { LOG_PAGE_MAX, type ParkedWire, type RetriedWire } from '../../query-api/index.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { call } from './http.ts'
import { formatTable, grouped, line } from './table.ts'

export function addParked(program: Command): void {
  const parked = program
    .command('parked')
    .description('rows that their contracts refused: listed, and read again once the contract or the row is mended')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem parked shop\n  mainstem parked retry shop\n  mainstem parked retry shop customers --key 42 --set name=Ada',
    )
  addList(parked)
  addRetry(parked)
}

function addList(parked: Command): void {
  withClientOptions(parked.command('list', { isDefault: true }).description('list parked rows'))
    .argument('[source]', 'name of a source (default: all of them)')
    .addHelpText('after', '\nExample:\n  mainstem parked list shop')
    .action(async (source: string | undefined, { url, json }: ClientFlags) => {
      const names = source === undefined ? await sourceNames(url) : [source]
      const rows: ParkedWire[] = []
      let total = 0
      for (const name of names) {
        const answer = await call<{ parked: readonly ParkedWire[]; total: number }>(url, pathOf(name), {
          query: { limit: LOG_PAGE_MAX },
        })
        rows.push(...answer.parked)
        total += answer.total
      }
      if (json) return line(JSON.stringify({ parked: rows, total }))
      if (rows.length === 0) return line('  no rows are parked')
      const lines = formatTable(rows, [
        { text: row => row.topic },
        { text: row => `key ${row.key}` },
        { text: row => row.op },
        { text: row => row.position },
        { text: row => row.error },
      ])
      lines.forEach(line)
      if (total > rows.length) line(`  … and ${grouped(total - rows.length)} more: ${grouped(total)} rows are parked`)
    })
}

interface RetryFlags extends ClientFlags {
  readonly key?: string
  readonly set?: Readonly<Record<string, string | null>>
  readonly setNull?: readonly string[]
}

function addRetry(parked: Command): void {
  withClientOptions(
    parked
      .command('retry')
      .description('read parked rows again, under the contracts as they are now; what these take becomes a record'),
  )
    .argument('<source>', 'name of a source, or <source>.<table>')
    .argument('[table]', 'only of this table')
    .option('--key <key>', 'only this row')
    .option(
      '--set <column=value...>',
      "take this value, as the database writes it, in the place of the row's own",
      setOption,
    )
    .option('--set-null <column...>', 'the same, for NULL')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem parked retry shop.customers\n  mainstem parked retry shop customers --key 42 --set name=Ada --set-null city',
    )
    .action(async (source: string, given: string | undefined, { url, json, key, set, setNull }: RetryFlags) => {
      const [name = source, ...rest] = given === undefined ? source.split('.') : [source]
      const table = given ?? (rest.length > 0 ? rest.join('.') : undefined)
      const values = { ...set, ...Object.fromEntries((setNull ?? []).map(column => [column, null])) }
      const isSet = Object.keys(values).length > 0
      if (isSet && key === undefined)
        throw fail('REQUEST_INVALID', 'values are set of one row', { hint: 'name it by --key' })
      const body = { table, key, ...(isSet ? { set: values } : {}) }
      const answer = await call<RetriedWire>(url, `${pathOf(name)}/retry`, { method: 'POST', body })
      if (json) line(JSON.stringify(answer))
      else tell(answer)
      if (answer.refused > 0) process.exitCode = 1
    })
}

function tell({ accepted, superseded, refused, refusals, token }: RetriedWire): void {
  const parts = [`${grouped(accepted)} rows accepted`, `${grouped(refused)} still parked`]
  if (superseded > 0) parts.splice(1, 0, `${grouped(superseded)} superseded by newer rows`)
  line(`  ${parts.join(', ')}   --after ${token}`)
  formatTable(refusals, [
    { text: row => row.topic },
    { text: row => `key ${row.key}` },
    { text: row => row.error },
  ]).forEach(line)
}

function setOption(text: string, before: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('expected column=value.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

const pathOf = (source: string): string => `/v1/sources/${encodeURIComponent(source)}/parked`

async function sourceNames(url: string): Promise<readonly string[]> {
  const { sources } = await call<{ sources: readonly SourceStatus[] }>(url, '/v1/sources')
  return sources.map(source => source.name)
}
