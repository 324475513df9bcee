// What all views of a client over HTTP have in common: its connection, what it has written, and how answers are read.
import type { AnyRow, Position } from '../../core/index.ts'
import type { AtOption } from '../at.ts'
import type { Freshness } from '../reads.ts'
import type { Call, Calls, JsonAnswer, Parameters } from './calls.ts'
import type { Answer, ReadOptions } from './client.ts'
import type { ClientError } from './client-error.ts'
import { OwnWrites } from './own-writes.ts'
import { type Reviver, reviverOf, toJson } from './revive.ts'

/** What a read says beside when and where it reads. */
export type Asked = Pick<Call, 'keys' | 'query' | 'body'>

export class Reader {
  readonly calls: Calls
  readonly #own: OwnWrites | undefined

  constructor(calls: Calls, readOwnWrites: boolean) {
    this.calls = calls
    this.#own = readOwnWrites ? new OwnWrites() : undefined
  }

  /** A read that waits for the tokens that it is given, and for what was written. */
  ask(path: string, options: ReadOptions = {}, asked: Asked = {}): Promise<JsonAnswer> {
    return this.waiting(options, query =>
      this.calls.json({ path, safe: true, signal: options.signal, ...asked, query: { ...query, ...asked.query } }),
    )
  }

  /** The same, by a call of its own. @param call is given what a read says of when and where it reads */
  async waiting<T>(options: ReadOptions, call: (query: Parameters) => Promise<T>): Promise<T> {
    const query = (): Parameters => {
      const after = options.at === undefined ? (this.#own?.tokens(options.after) ?? options.after) : options.after
      return { ...readParameters(options), after: typeof after === 'string' ? [after] : after }
    }
    try {
      return await call(query())
    } catch (error) {
      // The data folder has been begun anew: what was written before is gone with it.
      if ((error as ClientError).code !== 'TOKEN_OTHER_LOG' || !this.#own?.forget()) throw error
      return call(query())
    }
  }

  /** A token of what was written. */
  wrote(token: string): void {
    this.#own?.note(token)
  }

  async read(reads: Readonly<Record<string, readonly [string, unknown]>>, options?: ReadOptions) {
    const wanted = Object.values(reads).map(([view, key]) => ({ view, key: toJson(key) }))
    const { body, headers } = await this.ask('/v1/read', options, { body: { reads: wanted } })
    const types = typesOf(headers) as Readonly<Record<string, Readonly<Record<string, string>>>> | undefined
    const { values } = body as { readonly values: readonly { readonly view: string; readonly value: unknown }[] }
    const rows = values.map(({ view, value }) => rowOf(reviverOf(types?.[view]), value))
    return answerOf(body, Object.fromEntries(Object.keys(reads).map((label, n) => [label, rows[n]])))
  }
}

const readParameters = ({ at, timeoutMs, sources, maxAgeMs }: ReadOptions): Parameters => ({
  at: at === undefined ? undefined : atText(at),
  timeoutMs,
  sources,
  maxAgeMs,
})

export function atText(at: AtOption): string {
  if (typeof at === 'string') return at
  if (!(at instanceof Date)) return `savepoint:${at.savepoint}`
  // What is no date the application refuses, as it does a text that is none.
  return Number.isNaN(at.getTime()) ? String(at) : at.toISOString()
}

/** What the header says of the types of values, if it is there. */
export function typesOf(headers: Headers): Readonly<Record<string, string>> | undefined {
  const text = headers.get('mainstem-types')
  return text === null ? undefined : JSON.parse(text)
}

/** A row, or undefined where there is none. */
export const rowOf = (revive: Reviver, json: unknown): AnyRow | undefined =>
  json === null ? undefined : (revive(json) as AnyRow)

export function answerOf<T>(body: unknown, value: T): Answer<T> {
  const { position, ageMs, final, sources } = body as Freshness
  return { value, position: position as Position, ageMs, final, ...(sources ? { sources } : {}) }
}
