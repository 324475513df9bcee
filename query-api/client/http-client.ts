// The typed client over HTTP, for Node and browsers: no code of the application reaches it, only its types. Names of views and topics are
// those that are asked for; that they exist the compiler has checked, and the application checks again.
import type { z } from 'zod'
import type { AnyRow, AnyTopic, Position } from '../../core/index.ts'
import type { AtOption } from '../at.ts'
import type { LineageEntry, LineageStepWire, LineageWire, RecordTypesWire } from '../lineage.ts'
import type { Freshness } from '../reads.ts'
import { type Call, Calls, type ClientOptions, type Parameters } from './calls.ts'
import type { Answer, Client, LineageQuery, ReadOptions, TopicsOf, ViewClient } from './client.ts'
import { type ClientError, invalid } from './client-error.ts'
import { isComposite, isSegment, scalarText, ViewKeys } from './keys.ts'
import { OwnWrites } from './own-writes.ts'
import { type Reviver, reviverOf, toJson } from './revive.ts'

export interface AppendOptions {
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
   * APPLICATION_UNREACHABLE: it may have been appended
   */
  append(records: T | readonly T[], options?: AppendOptions): Promise<Appended>
}

/** A client over HTTP. Where it is of a module, its topics are those that the module exports. */
export interface HttpClient<A> extends Client<A> {
  readonly topics: { readonly [T in TopicsOf<A> as T['name']]: TopicClient<InputOf<T>> }
}

type InputOf<T extends AnyTopic> = z.input<T['value']>

/**
 * A client of the application that is served at a URL. Its reads wait for what it has appended itself.
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
    topics: byName(name => ({ append: (records: unknown, how?: AppendOptions) => reader.append(name, records, how) })),
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

type AnyView = Omit<ViewClient<unknown, AnyRow>, 'range' | 'where' | 'subscribe'>

function createViewClient(reader: Reader, view: string): AnyView {
  const path = `/v1/views/${encodeURIComponent(view)}`
  const keys = new ViewKeys(reader.calls, view)
  const lookup = async (wanted: readonly unknown[], options?: ReadOptions) => {
    const { body, headers } = await reader.ask(`${path}/lookup`, options, { keys: wanted.map(toJson) })
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
    async lineage(key, query = {}) {
      const text = await keys.text(key, query.signal)
      if (!isSegment(text)) throw invalid('the key cannot be a part of a URL', 'read lineages by `mainstem lineage`')
      const { body, headers } = await reader.calls.json({
        path: `${path}/rows/${text}/lineage`,
        query: lineageParameters(query),
        safe: true,
        signal: query.signal,
      })
      const revive = reviverOf(typesOf(headers))
      const { steps, recordTypes = {} } = body as LineageWire
      return steps.map(step => entryOf(step, revive, recordTypes[step.topic]))
    },
  }
}

/** What all views of a client have in common: its connection, and what it has written. */
class Reader {
  readonly calls: Calls
  readonly #own: OwnWrites | undefined

  constructor(calls: Calls, readOwnWrites: boolean) {
    this.calls = calls
    this.#own = readOwnWrites ? new OwnWrites() : undefined
  }

  /** A read that waits for the tokens that it is given, and for what was written. */
  async ask(path: string, options: ReadOptions = {}, body?: unknown, more?: Parameters) {
    const call = (): Call => {
      const after = options.at === undefined ? (this.#own?.tokens(options.after) ?? options.after) : options.after
      const query = { ...readParameters(options), after: typeof after === 'string' ? [after] : after, ...more }
      return { path, query, safe: true, signal: options.signal, ...(body === undefined ? {} : { body }) }
    }
    try {
      return await this.calls.json(call())
    } catch (error) {
      // The data folder has been begun anew: what was written before is gone with it.
      if ((error as ClientError).code !== 'TOKEN_OTHER_LOG' || !this.#own?.forget()) throw error
      return this.calls.json(call())
    }
  }

  async read(reads: Readonly<Record<string, readonly [string, unknown]>>, options?: ReadOptions) {
    const wanted = Object.values(reads).map(([view, key]) => ({ view, key: toJson(key) }))
    const { body, headers } = await this.ask('/v1/read', options, { reads: wanted })
    const types = typesOf(headers) as Readonly<Record<string, Readonly<Record<string, string>>>> | undefined
    const { values } = body as { readonly values: readonly { readonly view: string; readonly value: unknown }[] }
    const rows = values.map(({ view, value }) => rowOf(reviverOf(types?.[view]), value))
    return answerOf(body, Object.fromEntries(Object.keys(reads).map((label, n) => [label, rows[n]])))
  }

  async append(topic: string, records: unknown, { signal }: AppendOptions = {}): Promise<Appended> {
    const { body } = await this.calls.json({
      path: `/v1/topics/${encodeURIComponent(topic)}`,
      body: toJson(records),
      safe: false,
      signal,
    })
    const appended = body as Appended
    this.#own?.note(appended.token)
    return appended
  }
}

const readParameters = ({ at, timeoutMs, sources, maxAgeMs }: ReadOptions): Parameters => ({
  at: at === undefined ? undefined : atText(at),
  timeoutMs,
  sources,
  maxAgeMs,
})

const lineageParameters = ({ at, limit, before, field }: LineageQuery<AnyRow>): Parameters => ({
  at: at === undefined ? undefined : atText(at),
  limit,
  before,
  field,
})

function atText(at: AtOption): string {
  if (typeof at === 'string') return at
  if (!(at instanceof Date)) return `savepoint:${at.savepoint}`
  // What is no date the application refuses, as it does a text that is none.
  return Number.isNaN(at.getTime()) ? String(at) : at.toISOString()
}

/** What the header says of the types of values, if it is there. */
function typesOf(headers: Headers): Readonly<Record<string, string>> | undefined {
  const text = headers.get('mainstem-types')
  return text === null ? undefined : JSON.parse(text)
}

/** A row, or undefined where there is none. */
const rowOf = (revive: Reviver, json: unknown): AnyRow | undefined =>
  json === null ? undefined : (revive(json) as AnyRow)

/** Absence is an answer too: the problem says at which position, and whether that is final. */
const isAbsent = (error: unknown): error is ClientError => {
  const { code } = error as Partial<ClientError>
  return code === 'ROW_NOT_FOUND' || code === 'ROW_NOT_YET'
}

function answerOf<T>(body: unknown, value: T): Answer<T> {
  const { position, ageMs, final, sources } = body as Freshness
  return { value, position: position as Position, ageMs, final, ...(sources ? { sources } : {}) }
}

function entryOf(step: LineageStepWire, revive: Reviver, types: RecordTypesWire | undefined): LineageEntry<AnyRow> {
  const { record, op } = step
  const recorded = (json: unknown) => rowOf(reviverOf(typesOfRecord(types, json)), json ?? null) ?? null
  return {
    position: step.position as Position,
    topic: step.topic,
    op,
    record:
      op === 'event'
        ? { before: null, after: recorded(record.value) }
        : { before: recorded(record.before), after: recorded(record.after) },
    appendTime: new Date(step.appendTime),
    source: markOf(step.source),
    sequence: step.source?.sequence ?? null,
    before: rowOf(revive, step.before) ?? null,
    after: rowOf(revive, step.after) ?? null,
  }
}

/** Of a union: those of the record's variant. */
function typesOfRecord(
  types: RecordTypesWire | undefined,
  json: unknown,
): Readonly<Record<string, string>> | undefined {
  if (types === undefined || typeof types['variants'] !== 'object') return types as Readonly<Record<string, string>>
  const { by, variants } = types as Extract<RecordTypesWire, { readonly by: string; readonly variants: object }>
  return variants[String((json as AnyRow | null)?.[by])]
}

function markOf(source: LineageStepWire['source']): LineageEntry<AnyRow>['source'] {
  if (source === null) return undefined
  const { transaction, commitTime } = source
  return {
    source: source.source,
    position: source.position,
    ...(transaction === null ? {} : { transaction }),
    ...(commitTime === null ? {} : { commitTimeUs: microsecondsOf(commitTime) }),
    ...(source.snapshot ? { snapshot: true } : {}),
  }
}

/** Of ISO 8601 with six digits of a second. */
const microsecondsOf = (iso: string): number => Date.parse(`${iso.slice(0, 23)}Z`) * 1000 + Number(iso.slice(23, 26))
