// `mainstem watch`: rows of a view, and each change of them as it comes.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { type ErrorReport, errorOf, isMainstemError } from '../../core/index.ts'
import type { ServerEvent } from '../../query-api/index.ts'
import { type ClientFlags, keySegment, withClientOptions } from './client-commands.ts'
import { callEvents } from './http.ts'
import { condition } from './range.ts'
import { grouped, line } from './table.ts'

/** Before it connects again. */
const RETRY_MS = 1_000

interface WatchFlags extends ClientFlags {
  readonly prefix?: string
  readonly where?: readonly (readonly [string, string])[]
  readonly after?: readonly string[]
}

export function addWatch(program: Command): void {
  withClientOptions(
    program.command('watch').description('print rows of a view, and each change of them as it comes, until Ctrl-C'),
  )
    .argument('<view>', 'name of the view')
    .argument('[key...]', 'keys; parts of a composite key separated by commas, a comma within a part as %2C')
    .option('--prefix <text>', 'keys that begin so: a text, or leading parts of a composite key separated by commas')
    .option('--where <condition>', 'rows with such values: city=Bern, city=null; once for each', condition)
    .option(
      '--after <token...>',
      'begin when the view includes these writes: <source>:<position>, or what an append gave',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem watch accounts 42 43\n  mainstem watch accounts --where city=Bern\n  mainstem watch seats --prefix hamlet\n  mainstem watch accounts 42 --json\n\nKeys, or a prefix, or values of fields that an index of the view serves. A connection that breaks is made again, and goes on where it was. With --json one event per line, `progress` too.',
    )
    .action(watch)
}

async function watch(
  view: string,
  keys: readonly string[],
  { url, json, after, prefix, where = [] }: WatchFlags,
): Promise<void> {
  // Keys stand in the query as in a path.
  const selected = [
    ...keys.map(key => `keys=${keySegment(key)}`),
    ...(prefix === undefined ? [] : [`prefix=${keySegment(prefix)}`]),
  ]
  const path = `/v1/views/${encodeURIComponent(view)}/subscribe${selected.length > 0 ? `?${selected.join('&')}` : ''}`
  const conditions = Object.fromEntries(where)
  const show = json ? jsonLine : textLine
  let lastEventId: string | undefined
  let begun = false
  for (;;) {
    try {
      const query = { ...conditions, ...(lastEventId === undefined ? { after } : { lastEventId }) }
      for await (const event of await callEvents(url, path, { query })) {
        begun = true
        lastEventId = event.id ?? lastEventId
        checkEnd(event)
        show(event)
      }
    } catch (error) {
      if (!begun || !isMainstemError(error) || !error.retriable) throw error
      process.stderr.write(`${error.code} ${error.message}: trying again\n`)
    }
    await sleep(RETRY_MS)
  }
}

/** @throws why the application ends it, where that will not pass */
function checkEnd({ event, data }: ServerEvent): void {
  if (event !== 'end') return
  const problem = JSON.parse(data) as ErrorReport & { readonly title: string; readonly retriable: boolean }
  if (!problem.retriable) throw errorOf({ ...problem, message: problem.title })
}

const jsonLine = ({ event, data }: ServerEvent): void => line(`{"event":"${event}",${data.slice(1)}`)

function textLine({ event, data }: ServerEvent): void {
  const { key, value, position } = JSON.parse(data)
  const text = typeof key === 'object' ? Object.values(key ?? {}).join(',') : String(key)
  if (event === 'row') line(`  ${grouped(position)}  ${text}  ${JSON.stringify(value)}`)
  else if (event === 'gone') line(`  ${grouped(position)}  ${text}  gone`)
  else if (event === 'reset') line(`  ${grouped(position)}  what was missed is kept no more: these are the rows now`)
}
