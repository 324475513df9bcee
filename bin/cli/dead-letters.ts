// `mainstem dead-letters`: what a view of a running application has skipped; `… redrive` has it called again.
import type { Command } from 'commander'
import type { DeadLettersWire, RedrivenWire } from '../../query-api/index.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { call } from './http.ts'
import { formatTable, grouped, line } from './table.ts'

interface RedriveFlags extends ClientFlags {
  readonly all?: boolean
}

const pathOf = (view: string): string => `/v1/views/${encodeURIComponent(view)}/dead-letters`

export function addDeadLetters(program: Command): void {
  const command = withClientOptions(
    program
      .command('dead-letters')
      .enablePositionalOptions()
      .description("list what a view with onError: 'skip' has skipped"),
  )
  command
    .argument('<view>', 'name of the view')
    .addHelpText('after', '\nExamples:\n  mainstem dead-letters bills\n  mainstem dead-letters redrive bills 1234 1240')
    .action(async (view: string, { url, json }: ClientFlags) => {
      const letters = await allOf(url, view)
      if (json) return line(JSON.stringify({ deadLetters: letters }))
      if (letters.length === 0) return line(`  ${view} has no dead letters`)
      const rows = formatTable(letters, [
        { text: letter => grouped(letter.position), align: 'right' },
        { text: letter => letter.topic },
        { text: letter => (letter.op === 'event' ? letter.op : `${letter.op}, ${letter.step}`) },
        { text: letter => (letter.key === null ? 'no key' : `key ${letter.key}`) },
        { text: letter => letter.appendTime },
        { text: letter => (letter.redriven > 0 ? `called again ${grouped(letter.redriven)} times` : '') },
        { text: ({ error: { code, detail, message } }) => `${code} ${detail ?? message}` },
      ])
      rows.forEach(line)
    })
  addRedrive(command)
}

async function allOf(url: string, view: string): Promise<DeadLettersWire['deadLetters']> {
  const letters: DeadLettersWire['deadLetters'][number][] = []
  for (let from: string | null = '0'; from !== null; ) {
    const page: DeadLettersWire = await call<DeadLettersWire>(url, pathOf(view), { query: { from, limit: 1_000 } })
    letters.push(...page.deadLetters)
    from = page.next
  }
  return letters
}

function addRedrive(command: Command): void {
  withClientOptions(
    command.command('redrive').description('call again what was skipped; what succeeds is a dead letter no more'),
  )
    .argument('<view>', 'name of the view')
    .argument('[positions...]', 'of the records, as listed')
    .option('--all', 'all there are')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem dead-letters redrive bills 1234\n  mainstem dead-letters redrive bills --all',
    )
    .action(async (view: string, positions: readonly string[], { url, json, all }: RedriveFlags) => {
      const body = all ? { all: true, ...(positions.length > 0 ? { positions } : {}) } : { positions }
      const answer = await call<RedrivenWire>(url, `${pathOf(view)}/redrive`, { method: 'POST', body })
      if (json) return line(JSON.stringify(answer))
      line(
        `  ${grouped(answer.positions.length)} records are called again; read what came of it with --after ${answer.token}`,
      )
    })
}
