// The typed client over HTTP, for Node and browsers: no code of the application reaches it, only its types. Names of views, topics and
// commands are those that are asked for; that they exist the compiler has checked, and the application checks again.
import type { z } from 'zod'
import type { AnyRow, AnyTopic, Position } from '../../core/index.ts'
import type { KeyRange } from '../rows.ts'
import { Calls, type ClientOptions } from './calls.ts'
import type { Client, ReadOptions, TopicsOf, ViewClient } from './client.ts'
import type { ClientError } from './client-error.ts'
import { commandSender } from './http-commands.ts'
import { readLineage } from './http-lineage.ts'
import { rowsOverHttp } from './http-rows.ts'
import { subscribeOverHttp } from './http-subscription.ts'
import { isComposite, isSegment, Keys, scalarText } from './keys.ts'
import { answerOf, Reader, rowOf, typesOf } from './reader.ts'
import { reviverOf, toJson } from './revive.ts'

export interface AppendOptions {
  /**
   * Of your choosing, for this append alone, 1 to 200 characters: under it nothing is appended twice within a week, so the client
   * tries again by itself where no answer comes. With other records it is IDEMPOTENCY_KEY_REUSED. Default: none, and nothing is tried again.
   */
  readonly idempotencyKey?: string
  /** Ends the call with the signal's reason; whether the records have been appended is then not known. */
  readonly signal?: AbortSignal
}

/** What an append gives. */
export interface Appended {
  /** Position of each record, in the order given. */
  readonly positions: readonly Position[]
  /** Waits for them: `after` of a read. This client's own reads do by themselves. */
  readonly token: string
}

export interface TopicClient<T> {
  /**
   * Appends a record, or several as one unit; resolves when they are durable.
   * @throws RECORD_REFUSED (nothing is kept), TOPIC_UNKNOWN, TOPIC_READ_ONLY, RECORD_TOO_LARGE, BODY_TOO_LARGE, LOG_FULL, LOG_FAILED;
   * IDEMPOTENCY_KEY_REUSED; APPLICATION_UNREACHABLE: it may have been appended
   */
  append(records: T | readonly T[], options?: AppendOptions): Promise<Appended>
}

/** A client over HTTP. Where it is of a module, its topics are those that the module exports. */
export interface HttpClient<A> extends Client<A> {
  readonly topics: { readonly [T in TopicsOf<A> as T['name']]: TopicClient<InputOf<T>> }
}

type InputOf<T extends AnyTopic> = z.input<T['value']>

/**
 * A client of the application that is served at a URL. Its reads wait for what it has appended itself, and for its commands.
 * @param url as `mainstem run` says it: `http://127.0.0.1:7070`
 * @example
 * import type * as hello from './hello.ts'
 * const client = createClient<typeof hello>('http://127.0.0.1:7070')
 * await client.topics.purchases.append({ customer: 'ada', cents: 5 })
 * const { value } = await client.views.spending.get('ada')
 */
export function createClient<A>(url: string, options: ClientOptions = {}): HttpClient<A> {
  const reader = new Reader(new Calls(url, options), options.readOwnWrites ?? true)
  return {
    views: byName(name => createViewClient(reader, name)),
    commands: byName(name => byName(commandSender(reader, name))),
    topics: byName(name => ({ append: (records: unknown, how?: AppendOptions) => append(reader, name, records, how) })),
    read: (reads: Readonly<Record<string, readonly [string, unknown]>>, how?: ReadOptions) => reader.read(reads, how),
  } as unknown as HttpClient<A>
}

/** An object that has whatever is asked of it by name. */
function byName<T>(make: (name: string) => T): Readonly<Record<string, T>> {
  const made = new Map<string, T>()
  const get = (_: object, name: string | symbol): T | undefined => {
    if (typeof name === 'symbol') return undefined
    let one = made.get(name)
    if (one === undefined) {
      one = make(name)
      made.set(name, one)
    }
    return one
  }
  return new Proxy({}, { get }) as Readonly<Record<string, T>>
}

function createViewClient(reader: Reader, view: string): ViewClient<unknown, AnyRow> {
  const path = `/v1/views/${encodeURIComponent(view)}`
  const keys = new Keys(reader.calls, path)
  const lookup = async (wanted: readonly unknown[], options?: ReadOptions) => {
    const { body, headers } = await reader.ask(`${path}/lookup`, options, { body: { keys: wanted.map(toJson) } })
    const revive = reviverOf(typesOf(headers))
    const { values } = body as { readonly values: readonly { readonly value: unknown }[] }
    return answerOf(
      body,
      values.map(each => rowOf(revive, each.value)),
    )
  }
  return {
    lookup,
    async get(key, options) {
      // Not every key can be a segment of a URL, and how a composite one is written the application would have to say.
      const text = isComposite(key) ? '' : scalarText(key)
      if (!isSegment(text)) {
        const { value, ...rest } = await lookup([key], options)
        return { value: value[0], ...rest }
      }
      try {
        const { body, headers } = await reader.ask(`${path}/rows/${text}`, options)
        return answerOf(body, rowOf(reviverOf(typesOf(headers)), (body as { readonly value: unknown }).value))
      } catch (error) {
        if (isAbsent(error)) return answerOf(error.data, undefined)
        throw error
      }
    },
    range: (range = {}, options = {}) =>
      rowsOverHttp({ reader, path, keys, options, range: range as KeyRange<unknown> }),
    where: (where, options = {}) =>
      rowsOverHttp({ reader, path, keys, options, where: where as Readonly<Record<string, unknown>> }),
    subscribe: options => subscribeOverHttp({ reader, path, keys, options }),
    lineage: (key, query = {}) => readLineage(reader, path, keys, key, query),
  }
}

/** Absence is an answer too: the problem says at which position, and whether that is final. */
const isAbsent = (error: unknown): error is ClientError => {
  const { code } = error as Partial<ClientError>
  return code === 'ROW_NOT_FOUND' || code === 'ROW_NOT_YET'
}

async function append(
  reader: Reader,
  topic: string,
  records: unknown,
  { signal, idempotencyKey }: AppendOptions = {},
): Promise<Appended> {
  const { body } = await reader.calls.json({
    path: `/v1/topics/${encodeURIComponent(topic)}`,
    body: toJson(records),
    safe: idempotencyKey !== undefined,
    ...(idempotencyKey === undefined ? {} : { headers: { 'idempotency-key': idempotencyKey } }),
    signal,
  })
  const appended = body as Appended
  reader.wrote(appended.token)
  return appended
}
