// Commands of the client in the application's own process.
import { type AnyRow, orAborted } from '../core/index.ts'
import type { Outcome, SendCommand } from './client/client.ts'
import type { OwnWrites } from './client/own-writes.ts'
import { toJson } from './client/revive.ts'
import { answeredEvents, type CommandCalls } from './command-calls.ts'

/** Whose idempotency keys they are. */
const WHO = 'in this process'

type Send = SendCommand<unknown, unknown, AnyRow, string>

/** By decider and command. @param own is told of what they came to */
export function localCommands(
  calls: CommandCalls,
  own: OwnWrites,
): Readonly<Record<string, Readonly<Record<string, Send>>>> {
  const sender =
    (decider: string, type: string): Send =>
    async (key, command, { idempotencyKey, expectedVersion, signal } = {}) => {
      signal?.throwIfAborted()
      const body = JSON.stringify(toJson(command))
      const sending = calls.send({ decider, key, type, command, expectedVersion, who: WHO, idempotencyKey, body })
      const decided = await (signal ? orAborted(sending, signal) : sending)
      if (!decided.ok) return { ok: false, refused: decided.refused, message: decided.message }
      const token = calls.tokenOf(decided)
      own.note(token)
      const events = answeredEvents(decided.events, calls.decider(decider))
      return { ok: true, events, version: decided.version, token } satisfies Outcome<AnyRow, string>
    }
  return Object.fromEntries(
    calls.deciders.map(({ name, commands }) => [
      name,
      Object.fromEntries([...commands.keys()].map(type => [type, sender(name, type)])),
    ]),
  )
}
