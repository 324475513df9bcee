// Appends that may be sent again: whoever gives a key gets, the second time, the answer of the first. That a key has been used is a record
// of the log in the same batch as what was appended under it, so both are there or neither is, whatever is killed when. Keys are
// kept as hashes, for IDEMPOTENCY_KEY_KEPT_MS.
import { createHash } from 'node:crypto'
import { z } from 'zod'
import {
  APPENDS_TOPIC,
  type Batch,
  compileContract,
  fail,
  type Log,
  type LogTopic,
  type Streams,
} from '../core/index.ts'
import type { AppendResult, Appends } from './append.ts'
import { IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENCY_KEY_KEPT_MS } from './limits.ts'
import { formatLogToken } from './token.ts'

const schema = z.object({
  /** Of topic, client and key. */
  key: z.string(),
  /** Of the body. */
  body: z.string(),
  /** The records are the last ones before this. */
  records: z.int32(),
})

/** What of the log says which keys are used: how long it is kept. */
export const RETAINED_APPENDS = { [APPENDS_TOPIC]: { ms: IDEMPOTENCY_KEY_KEPT_MS } } as const

export interface KeyedAppend {
  readonly topic: string
  /** Keys of one client are not those of another. */
  readonly who: string
  readonly key: string
  /** As it was sent. */
  readonly body: string
  readonly json: unknown
}

export class KeyedAppends {
  readonly #log: Log & Streams
  readonly #appends: Appends
  #topic: Promise<LogTopic> | undefined
  /** The last append that runs under each key. */
  readonly #running = new Map<string, Promise<AppendResult>>()

  constructor(log: Log & Streams, appends: Appends) {
    this.#log = log
    this.#appends = appends
  }

  /** @throws IDEMPOTENCY_KEY_REUSED where the key was that of another body; as `Appends.appendJson` */
  async append(request: KeyedAppend): Promise<AppendResult> {
    const { topic, who, key } = request
    const hash = hashOf(JSON.stringify([topic, who, key]))
    const before = this.#running.get(hash)
    const run = this.#after(before, request, hash)
    this.#running.set(hash, run)
    try {
      return await run
    } finally {
      if (this.#running.get(hash) === run) this.#running.delete(hash)
    }
  }

  async #after(before: Promise<unknown> | undefined, request: KeyedAppend, hash: string): Promise<AppendResult> {
    await before?.catch(() => {})
    const body = hashOf(request.body)
    const known = await this.#known(hash, body)
    if (known) return known
    this.#topic ??= this.#log.topic(compileContract(APPENDS_TOPIC, 'topic', schema, 'key'))
    const marks = await this.#topic
    return this.#appends.appendJson(request.topic, request.json, (batch: Batch, records: number) =>
      batch.event(marks, { key: hash, body, records }),
    )
  }

  /** The answer to the append that was made under a key. */
  async #known(hash: string, body: string): Promise<AppendResult | undefined> {
    const topic = this.#log.findTopic(APPENDS_TOPIC)
    if (!topic) return undefined
    for await (const { position, event } of this.#log.stream(topic, hash, { backwards: true, limit: 1 })) {
      const made = schema.parse(event)
      if (made.body !== body)
        throw fail('IDEMPOTENCY_KEY_REUSED', 'the idempotency key was used for other records', {
          hint: 'take a new key for each append, and the same one only to send the same append again',
        })
      return {
        positions: Array.from({ length: made.records }, (_, n) => String(position - made.records + n)),
        token: formatLogToken(this.#log.id, position),
      }
    }
    return undefined
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64url')

/** What the header `Idempotency-Key` says. @throws REQUEST_INVALID */
export function idempotencyKeyOf(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  if (typeof header === 'string' && header !== '' && header.length <= IDEMPOTENCY_KEY_CHARS_MAX) return header
  throw fail('REQUEST_INVALID', "'idempotency-key' is not valid", {
    hint: `give one, of 1 to ${IDEMPOTENCY_KEY_CHARS_MAX} characters`,
  })
}
