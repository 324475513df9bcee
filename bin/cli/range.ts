// `mainstem range`: rows of a view in order, by keys or by what a declared index serves.
import { type Command, InvalidArgumentError, Option } from 'commander'
import { wholeNumber } from './arguments.ts'
import { AT_OPTION, type ClientFlags, keySegment, withClientOptions } from './client-commands.ts'
import { callStream, callText } from './http.ts'
import { writeOut } from './log/stream.ts'
import { grouped, line } from './table.ts'

interface RangeFlags extends ClientFlags {
  readonly prefix?: string
  readonly from?: string
  readonly to?: string
  readonly where?: readonly (readonly [string, string])[]
  readonly order?: string
  readonly limit: number
  readonly cursor?: string
  readonly all?: boolean
  readonly after?: readonly string[]
  readonly timeout?: number
  readonly at?: string
  readonly sources?: boolean
}

const OPERATORS: Readonly<Record<string, string>> = { '>=': '.gte', '<=': '.lte', '>': '.gt', '<': '.lt', '=': '' }

/** `open_cents>=100` as a parameter and its value. */
export function condition(
  text: string,
  before: readonly (readonly [string, string])[] = [],
): (readonly [string, string])[] {
  const parts = /^([^<>=]+)(>=|<=|>|<|=)(.*)$/s.exec(text)
  const [, field, operator, value] = parts ?? []
  if (field === undefined || operator === undefined || value === undefined)
    throw new InvalidArgumentError('expected a condition such as city=Bern, open_cents>=100 or city=null.')
  const isNull = operator === '=' && value === 'null'
  return [...before, isNull ? [`where.${field}.null`, 'true'] : [`where.${field}${OPERATORS[operator]}`, value]]
}

export function addRange(program: Command): void {
  withClientOptions(program.command('range').description('print rows of a view in order'))
    .argument('<view>', 'name of the view')
    .option('--prefix <text>', 'keys that begin so: a text, or leading parts of a composite key separated by commas')
    .option('--from <key>', 'the first key, inclusive')
    .option('--to <key>', 'the last key, inclusive')
    .option('--where <condition>', 'city=Bern, open_cents>=100, city=null; once for each', condition)
    .addOption(new Option('--order <order>', 'default: asc').choices(['asc', 'desc']))
    .option('--limit <n>', 'rows of the page', wholeNumber(1, 1_000), 100)
    .option('--cursor <cursor>', 'that of the page before, with the same options otherwise')
    .option('--all', 'all rows there are, as lines, in place of a page')
    .option('--after <token...>', 'wait until the view includes these writes')
    .option('--timeout <ms>', 'how long to wait for them, and for an index that is being built', wholeNumber(0, 60_000))
    .option(...AT_OPTION)
    .option('--sources', 'also print up to where each source is in the answer')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem range accounts --from 1 --to 100\n  mainstem range accounts --where city=Bern --where "open_cents>=10000" --order desc\n  mainstem range seats --prefix hamlet --all\n\nConditions are what an index of the view serves: equal values of its first fields, and bounds of the next one.',
    )
    .action(range)
}

async function range(view: string, { url, json, where = [], limit, all, cursor, ...flags }: RangeFlags): Promise<void> {
  const keys = (['prefix', 'from', 'to'] as const).flatMap(name => {
    const key = flags[name]
    return key === undefined ? [] : [`${name}=${keySegment(key)}`]
  })
  // Keys are written as in a path: what separates their parts must stay as it is.
  const path = `/v1/views/${encodeURIComponent(view)}/rows${keys.length > 0 ? `?${keys.join('&')}` : ''}`
  const { order, after, timeout, at, sources } = flags
  const query = {
    ...Object.fromEntries(where),
    order,
    limit: all ? undefined : limit,
    cursor,
    after,
    timeoutMs: timeout,
    at,
    sources,
  }
  if (all) return writeOut((await callStream(url, path, { query, accept: 'application/x-ndjson' })).pieces)
  const text = await callText(url, path, { query })
  if (json) return line(text)
  const page = JSON.parse(text) as {
    readonly rows: readonly unknown[]
    readonly cursor: string | null
    readonly position: string
  }
  for (const row of page.rows) line(JSON.stringify(row))
  const more = page.cursor === null ? '' : `, more with --cursor ${page.cursor}`
  line(`  ${grouped(page.rows.length)} rows at ${grouped(page.position)}${more}`)
}
