// A subscription over HTTP that goes on by itself: when its connection is cut, falls silent, or the application starts again, it connects
// anew with the id of the last event, so that each change comes once, in order. Where the application cannot tell what was missed, the rows
// there are come again, and those that are there no more as gone. Events are read no faster than they are taken, and nothing is kept
// but the keys of the rows that are known.
import type { AnyRow, Position } from '../../core/index.ts'
import type { Freshness } from '../reads.ts'
import { backoffMs, type Call, type Parameters, pause } from './calls.ts'
import type { Change, SubscribeOptions } from './client.ts'
import { type ClientError, errorOfAnswer } from './client-error.ts'
import { type ServerEvent, serverEvents } from './event-stream.ts'
import { whereParameters } from './http-rows.ts'
import { checkKeys, type Keys } from './keys.ts'
import { KnownKeys } from './known-keys.ts'
import { leavable } from './leavable.ts'
import { type Reader, typesOf } from './reader.ts'
import { reviverOf } from './revive.ts'

export interface SubscriptionRequest {
  readonly reader: Reader
  /** Of the view. */
  readonly path: string
  readonly keys: Keys
  readonly options: SubscribeOptions<unknown, unknown>
}

type AnyChange = Change<unknown, AnyRow>

/** @throws REQUEST_INVALID */
export function subscribeOverHttp(request: SubscriptionRequest): AsyncIterable<AnyChange> {
  const { keys, signal } = request.options
  if (keys !== undefined) checkKeys(keys)
  return leavable(left => new Subscription(request, left).changes(), signal)
}

class Subscription {
  readonly #request: SubscriptionRequest
  readonly #signal: AbortSignal
  readonly #known = new KnownKeys()
  /** Id of the last event that came; undefined: it begins with the rows there are. */
  #id: string | undefined
  /** Whether it has been connected: what fails from then on is tried again. */
  #begun = false
  /** Connections since one has gone on. */
  #attempt = 0
  #retryMs = 0

  constructor(request: SubscriptionRequest, signal: AbortSignal) {
    this.#request = request
    this.#signal = signal
  }

  async *changes(): AsyncGenerator<AnyChange, void, undefined> {
    for (;;) {
      try {
        yield* this.#connected()
      } catch (error) {
        this.#signal.throwIfAborted()
        if (!this.#begun || !this.#goesOn(error)) throw error
      }
      await pause(Math.max(backoffMs(this.#attempt++), this.#retryMs), this.#signal)
    }
  }

  /** Whether to connect again after what has happened. */
  #goesOn(error: unknown): boolean {
    const { code, retriable } = error as Partial<ClientError>
    if (code === 'SUBSCRIBER_TOO_SLOW') this.#retryMs = 0
    if (this.#id === undefined || (code !== 'TOKEN_OTHER_LOG' && code !== 'TOKEN_MALFORMED')) return retriable === true
    // The data folder has been begun anew, or another version has other ids.
    this.#id = undefined
    return true
  }

  /** What comes by one connection. */
  async *#connected(): AsyncGenerator<AnyChange, void, undefined> {
    const [readKey, { headers, pieces }] = await this.#open()
    const revive = reviverOf(typesOf(headers))
    this.#begun = true
    if (this.#id === undefined) this.#known.reset()
    for await (const event of serverEvents(pieces)) {
      this.#retryMs = event.retryMs ?? 0
      if (event.event === 'reset') this.#known.reset()
      else if (event.event === 'progress') yield* this.#progressed(event)
      else if (event.event === 'row' || event.event === 'gone') {
        const { key: json, value, position } = JSON.parse(event.data) as ChangeWire
        const [key, text] = [readKey(json), JSON.stringify(json)]
        this.#known[event.event](text, key)
        this.#goneOn(event.id)
        if (event.event === 'gone') yield { type: 'gone', key, position }
        else yield { type: 'row', key, value: revive(value) as AnyRow, position }
      } else if (event.event === 'end' || event.event === 'overflow') {
        const error = errorOfAnswer('', (JSON.parse(event.data) as { readonly status: number }).status, event.data)
        // With a new token it goes on; where there is none, that is said when it connects again.
        if (error.code === 'UNAUTHENTICATED') return
        throw error
      }
    }
  }

  async #open() {
    const { reader, path, keys, options } = this.#request
    const signal = this.#signal
    const readKey = await keys.reader(signal)
    const selected = await selectedBy(options, keys, signal)
    const { timeoutMs, sources } = options
    const id = this.#id
    const stream = await reader.waiting(options, first =>
      reader.calls.stream(
        {
          path: `${path}/subscribe`,
          keys: selected.keys,
          // What it waited for before it began it has, and more.
          query: { ...selected.query, ...(id === undefined ? first : { timeoutMs, sources }) },
          headers: { accept: 'text/event-stream', ...(id === undefined ? {} : { 'last-event-id': id }) },
          safe: true,
          signal,
        },
        { silentMsMax: reader.calls.silentMsMax, ...(this.#begun ? { retries: 0 } : {}) },
      ),
    )
    return [readKey, stream] as const
  }

  /** What comes amidst the rows there are has no id. */
  #goneOn(id: string | undefined): void {
    if (id === undefined) return
    this.#id = id
    this.#attempt = 0
  }

  /** All there is has come. */
  *#progressed({ data, id }: ServerEvent): Generator<AnyChange> {
    const freshness = JSON.parse(data) as Freshness
    const position = freshness.position as Position
    const gone = this.#known.settled()
    this.#goneOn(id)
    for (const key of gone) yield { type: 'gone', key, position }
    yield { type: 'progress', ...freshness, position }
  }
}

/** Which rows, as parameters: those that are written as keys in a path, and others. */
async function selectedBy(
  { keys: wanted, prefix, where }: SubscribeOptions<unknown, unknown>,
  keys: Keys,
  signal: AbortSignal,
): Promise<{ readonly keys: NonNullable<Call['keys']>; readonly query: Parameters }> {
  if (where !== undefined) return { keys: {}, query: whereParameters(where as Readonly<Record<string, unknown>>) }
  if (prefix !== undefined) return { keys: { prefix: await keys.prefix(prefix, signal) }, query: {} }
  const texts: string[] = []
  for (const key of wanted) texts.push(await keys.text(key, signal))
  return { keys: { keys: texts }, query: {} }
}

interface ChangeWire {
  readonly key: unknown
  readonly value: unknown
  readonly position: Position
}
