// `mainstem savepoint`: all rows of a running application's views, at one cut, in a file that stands alone.
import type { Command } from 'commander'
import { errorOf, fail } from '../../core/index.ts'
import type { SavepointsWire, SavepointWire } from '../../query-api/index.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { EXIT } from './exit.ts'
import { call } from './http.ts'
import { byteSize, formatTable, grouped, line } from './table.ts'
import { untilEnded } from './until-ended.ts'

export function addSavepoint(program: Command): void {
  const savepoint = program
    .command('savepoint')
    .description('name and keep the state of all views; go back to it with run --from-savepoint')
  withClientOptions(savepoint.command('create').description('write a savepoint of now'))
    .argument('<name>', 'letters, digits, dots, dashes, underscores')
    .addHelpText('after', '\nExample:\n  mainstem savepoint create before-migration')
    .action(create)
  withClientOptions(savepoint.command('list').description('the savepoints there are')).action(list)
  withClientOptions(savepoint.command('show').description('what a savepoint holds'))
    .argument('<name>', 'of the savepoint')
    .action(show)
  withClientOptions(savepoint.command('delete').description('delete a savepoint'))
    .argument('<name>', 'of the savepoint')
    .action(async (name: string, { url, json }: ClientFlags) => {
      const answer = await call(url, pathOf(name), { method: 'DELETE' })
      line(json ? JSON.stringify(answer) : `  ${name} is deleted`)
    })
}

const pathOf = (name: string): string => `/v1/savepoints/${encodeURIComponent(name)}`

async function create(name: string, { url, json }: ClientFlags): Promise<void> {
  await call(url, '/v1/savepoints', { method: 'POST', body: { name } })
  await ended(url, name)
  const made = await call<SavepointWire>(url, pathOf(name))
  line(json ? JSON.stringify(made) : `  ${summary(made)}, portable: ${made.path}`)
}

/** Waits until the savepoint is made. @throws why it was not */
async function ended(url: string, name: string): Promise<void> {
  await untilEnded('rows', async show => {
    const { running, last } = await call<SavepointsWire>(url, '/v1/savepoints')
    if (running?.name === name) {
      if (running.rows !== null) show(running.rowsDone, running.rows)
      return undefined
    }
    if (last?.name !== name) throw fail('INTERNAL', 'the savepoint is gone', { detail: `${url} was started anew` })
    if (last.error) throw errorOf(last.error)
    return true
  })
}

const rowsOf = ({ views }: SavepointWire): number => Object.values(views).reduce((sum, { rows }) => sum + rows, 0)

const summary = (savepoint: SavepointWire): string =>
  `${savepoint.name} at ${grouped(savepoint.position)}, ${grouped(rowsOf(savepoint))} rows, ${byteSize(savepoint.bytes)}`

async function list({ url, json }: ClientFlags): Promise<void> {
  const answer = await call<SavepointsWire>(url, '/v1/savepoints')
  if (json) return line(JSON.stringify(answer))
  const { savepoints, running } = answer
  if (savepoints.length === 0 && !running) return line('  there are no savepoints')
  const rows = formatTable(savepoints, [
    { text: ({ name }) => name },
    { text: each => ('error' in each ? '' : `at ${grouped(each.position)}`), align: 'right' },
    { text: each => ('error' in each ? '' : `${grouped(rowsOf(each))} rows`), align: 'right' },
    { text: each => ('error' in each ? '' : byteSize(each.bytes)), align: 'right' },
    { text: each => ('error' in each ? `${each.error.code} ${each.error.detail ?? each.error.message}` : each.madeAt) },
  ])
  for (const text of rows) line(text)
  if (running) line(`  ${running.name} is being made: ${grouped(running.rowsDone)} rows`)
  if (savepoints.some(each => 'error' in each)) process.exitCode = EXIT.failed
}

async function show(name: string, { url, json }: ClientFlags): Promise<void> {
  const savepoint = await call<SavepointWire>(url, pathOf(name))
  if (json) return line(JSON.stringify(savepoint))
  line(`  ${summary(savepoint)}, of ${savepoint.madeAt}: ${savepoint.path}`)
  const rows = formatTable(Object.entries(savepoint.views), [
    { text: ([view]) => view },
    { text: ([, { rows: count }]) => `${grouped(count)} rows`, align: 'right' },
    { text: ([, { position }]) => `at ${grouped(position)}`, align: 'right' },
    { text: ([, { hash }]) => hash },
    { text: ([, { fingerprint }]) => `code ${fingerprint}` },
  ])
  for (const text of rows) line(text)
}
