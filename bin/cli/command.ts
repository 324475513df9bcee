// `mainstem command`: sends a command to a stream of a running application's decider.
import type { Command } from 'commander'
import { parseJson } from '../../core/index.ts'
import { wholeNumber } from './arguments.ts'
import { type ClientFlags, keySegment, withClientOptions } from './client-commands.ts'
import { callText } from './http.ts'
import { line } from './table.ts'

interface CommandFlags extends ClientFlags {
  readonly idempotencyKey?: string
  readonly expect?: number
}

export function addCommand(program: Command): void {
  withClientOptions(
    program.command('command').description('send a command to a decider, and print the events that it came to'),
  )
    .argument('<decider>', 'name of the decider')
    .argument('<id>', "the stream's key; parts of a composite key separated by commas, a comma within a part as %2C")
    .argument('<command>', 'JSON: its name as type, and its fields')
    .option('--idempotency-key <key>', 'under it the command is decided once, however often it is sent')
    .option(
      '--expect <version>',
      'the version that the stream must have; 0: no events yet',
      wholeNumber(0, 999_999_999_999_999),
    )
    .addHelpText(
      'after',
      `\nExamples:\n  mainstem command seats hamlet,A1 '{"type":"hold","holder":"ada"}'\n  mainstem command seats hamlet,A1 '{"type":"release"}' --expect 1 --idempotency-key r-1`,
    )
    .action(async (decider: string, id: string, text: string, { url, idempotencyKey, expect }: CommandFlags) => {
      const body = parseJson(text, 'the command')
      const path = `/v1/commands/${encodeURIComponent(decider)}/${keySegment(id)}`
      const headers = {
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        ...(expect === undefined ? {} : { 'if-match': `"${expect}"` }),
      }
      line(await callText(url, path, { method: 'POST', body, headers }))
    })
}
