// Logical messages (`pg_logical_emit_message`) as typed events: an outbox without a table. The content is a JSON object of the event's
// fields; what is none, or what the contract refuses, is parked with its text.
import {
  type CapturedTopic,
  describeRecord,
  type EventInput,
  fromWire,
  type RawValues,
  refusedBy,
} from '../../core/index.ts'
import type { EventReader } from '../connector/events.ts'
import type { CheckedTopic } from '../connector/technology.ts'

/** The raw value that a parked message keeps. */
const CONTENT = 'content'

export interface PgMessages extends CheckedTopic {
  readonly prefix: string
  readonly reader: MessageReader
}

export class MessageReader implements EventReader {
  readonly #type

  constructor({ contract }: CapturedTopic) {
    this.#type = describeRecord(contract.schema, 'input', contract.name)
  }

  read(content: string): EventInput {
    return this.fromRaw({ [CONTENT]: content })
  }

  fromRaw(raw: RawValues): EventInput {
    try {
      const json: unknown = JSON.parse(raw[CONTENT] ?? 'null')
      if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error('expected a JSON object')
      return { value: fromWire(this.#type, json), raw }
    } catch (error) {
      return { value: undefined, error: refusedBy(error), raw }
    }
  }
}

/** The topics that are fed by messages. They need nothing of the server. */
export const messagesOf = (topics: readonly CapturedTopic[]): PgMessages[] =>
  topics.flatMap(captured => {
    const { origin } = captured.declared
    return origin.kind === 'messages' ? [{ captured, prefix: origin.prefix, reader: new MessageReader(captured) }] : []
  })
