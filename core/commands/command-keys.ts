// Commands that may be sent again: whoever gives a key gets, the second time, the answer of the first, be it a refusal. What was answered
// under a key is a record of the log in the same batch as the events, so both are there or neither is, whatever is killed when. Keys are
// kept as hashes, for some days (bin/open-application.ts says how long).
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { compileContract } from '../contract/index.ts'
import { fail } from '../errors.ts'
import { type Batch, COMMANDS_TOPIC, type Log, type LogTopic, type Streams } from '../log/index.ts'

const schema = z.object({
  /** Of decider, stream, client and key. */
  key: z.string(),
  /** Of the command, and the version that it expected. */
  body: z.string(),
  /** Of the stream, after it. */
  version: z.int(),
  /** Its events are the last so many up to that version. */
  events: z.int32(),
  refused: z.string().nullable(),
})

/** What came of a command, as far as it is recorded under its key. */
export type Outcome = Pick<z.output<typeof schema>, 'version' | 'events' | 'refused'>

/** A key under which a command was sent. */
export interface CommandKey {
  /** Keys of one client are not those of another. */
  readonly who: string
  readonly key: string
  /** The command as it was sent. */
  readonly body: string
}

export class CommandKeys {
  readonly #log: Log & Streams
  #topic: Promise<LogTopic> | undefined

  constructor(log: Log & Streams) {
    this.#log = log
  }

  /** What was answered, and the position of the record of that. @throws IDEMPOTENCY_KEY_REUSED where the key was that of another command */
  async known(stream: string, { who, key, body }: CommandKey): Promise<(Outcome & { position: number }) | undefined> {
    const topic = this.#log.findTopic(COMMANDS_TOPIC)
    if (!topic) return undefined
    const hash = hashOf(JSON.stringify([stream, who, key]))
    for await (const { position, event } of this.#log.stream(topic, hash, { backwards: true, limit: 1 })) {
      const made = schema.parse(event)
      if (made.body === hashOf(body)) return { ...made, position }
      throw fail('IDEMPOTENCY_KEY_REUSED', 'the idempotency key was used for another command', {
        hint: 'take a new key for each command, and the same one only to send the same command again',
      })
    }
    return undefined
  }

  /** @returns what notes the outcome in the batch that has its events */
  async noting(stream: string, { who, key, body }: CommandKey): Promise<(batch: Batch, outcome: Outcome) => void> {
    this.#topic ??= this.#log.topic(compileContract(COMMANDS_TOPIC, 'topic', schema, 'key'))
    const topic = await this.#topic
    const hash = hashOf(JSON.stringify([stream, who, key]))
    return (batch, outcome) => batch.event(topic, { key: hash, body: hashOf(body), ...outcome })
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64url')
