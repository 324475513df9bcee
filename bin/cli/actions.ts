// `mainstem actions`: what operators did to a running application.
import type { Command } from 'commander'
import type { ActionsWire } from '../../query-api/index.ts'
import { wholeNumber } from './arguments.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { call } from './http.ts'
import { formatTable, line } from './table.ts'

export function addActions(program: Command): void {
  withClientOptions(program.command('actions').description('what operators did to a running application, newest first'))
    .option('--limit <n>', 'so many at most', wholeNumber(1, 1_000), 50)
    .action(async ({ url, json, limit }: ClientFlags & { readonly limit: number }) => {
      const answer = await call<ActionsWire>(url, '/v1/actions', { query: { limit } })
      if (json) return line(JSON.stringify(answer))
      formatTable(answer.actions, [
        { text: action => action.at },
        { text: action => action.who },
        { text: action => action.call },
        { text: ({ about }) => (about === null ? '' : JSON.stringify(about)) },
        { text: action => action.code ?? 'done' },
      ]).forEach(line)
    })
}
