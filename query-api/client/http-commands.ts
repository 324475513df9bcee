// Commands over HTTP: sent once, or under an idempotency key until an answer comes; refusals are answers.
import type { AnyRow } from '../../core/index.ts'
import type { CommandOptions, Outcome, SendCommand } from './client.ts'
import { type ClientError, invalid } from './client-error.ts'
import { isSegment, Keys } from './keys.ts'
import { type Reader, typesOf } from './reader.ts'
import { reviverOf, toJson } from './revive.ts'

type AnyOutcome = Outcome<AnyRow, string>
type Send = SendCommand<unknown, unknown, AnyRow, string>

/** @returns a decider's commands: whichever is asked for by its name */
export function commandSender(reader: Reader, decider: string): (type: string) => Send {
  const path = `/v1/commands/${encodeURIComponent(decider)}`
  const keys = new Keys(reader.calls, path)
  return type =>
    (key, command, options = {}) =>
      send(reader, { path, keys, type }, key, command, options)
}

interface Command {
  readonly path: string
  readonly keys: Keys
  readonly type: string
}

async function send(
  reader: Reader,
  { path, keys, type }: Command,
  key: unknown,
  command: unknown,
  { idempotencyKey, expectedVersion, signal }: CommandOptions,
): Promise<AnyOutcome> {
  const id = await keys.text(key, signal)
  if (!isSegment(id)) throw invalid('the key cannot be a part of a URL', `URLs lose ${JSON.stringify(id)}`)
  try {
    const { body, headers } = await reader.calls.json({
      path: `${path}/${id}`,
      body: { ...(toJson(command) as AnyRow), type },
      safe: idempotencyKey !== undefined,
      headers: {
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        ...(expectedVersion === undefined ? {} : { 'if-match': `"${expectedVersion}"` }),
      },
      signal,
    })
    const types = typesOf(headers) as Readonly<Record<string, Readonly<Record<string, string>>>> | undefined
    const { events, version, token } = body as Omit<Extract<AnyOutcome, { ok: true }>, 'ok'>
    reader.wrote(token)
    const revived = events.map(event => reviverOf(types?.[String(event['type'])])(event) as AnyRow)
    return { ok: true, events: revived, version, token }
  } catch (error) {
    const { code, data, message } = error as ClientError
    if (code === 'COMMAND_REFUSED') return { ok: false, refused: String(data['refused']), message }
    throw error
  }
}
