// Calls over HTTP: who asks, how long an answer may take, what is tried again. Only what changes nothing is tried again, or what an
// idempotency key makes safe: an append whose answer was lost may have been made.
import { type ClientError, errorOfAnswer, unreachable } from './client-error.ts'
import { piecesOf } from './pieces.ts'

/** A secret, or what gives it whenever it is needed: a token that expires is made anew there. */
export type Secret = string | (() => string | Promise<string>)

export interface ClientOptions {
  /** An API key or a JSON Web Token, sent as `Authorization: Bearer …`. Default: none. */
  readonly token?: Secret
  /** Further headers of every request. Default: none. */
  readonly headers?: Readonly<Record<string, string>>
  /** How often a call that changes nothing is tried again where nothing answers, or not now. Default 4, over about two seconds. */
  readonly retries?: number
  /** Milliseconds that an answer may take beyond what the call itself waits for. Default 30,000. */
  readonly answerTimeoutMs?: number
  /**
   * Milliseconds for which a subscription may hear nothing before it takes its connection for dead and connects again; the
   * application says something at least every 15 s. Default 45,000.
   */
  readonly silentMsMax?: number
  /** Whether reads wait for what this client has appended, by commands too. Default true. */
  readonly readOwnWrites?: boolean
  /** Instead of the `fetch` there is. */
  readonly fetch?: typeof fetch
}

export type Parameters = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>

export interface Call {
  /** Encoded already. */
  readonly path: string
  readonly query?: Parameters
  /** Parameters whose values are encoded already: keys, as they stand in a path. */
  readonly keys?: Readonly<Record<string, string | readonly string[]>>
  /** Sent as JSON, by POST. */
  readonly body?: unknown
  /** Whether it may be sent twice. */
  readonly safe: boolean
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

export interface JsonAnswer {
  readonly body: unknown
  readonly headers: Headers
}

/** An answer that is read as it comes. */
export interface StreamAnswer {
  readonly headers: Headers
  /** No faster than they are taken; leaving them ends the answer. @throws ClientError where it is cut, or nothing comes; the signal's reason */
  readonly pieces: AsyncIterable<Uint8Array>
}

export interface StreamOptions {
  /** How long nothing may come while it is waited for, milliseconds. Default: as long as an answer may take. */
  readonly silentMsMax?: number
  /** Default: those of the client. */
  readonly retries?: number
}

const RETRIES_DEFAULT = 4
const ANSWER_TIMEOUT_MS_DEFAULT = 30_000
const SILENT_MS_MAX_DEFAULT = 45_000
const BACKOFF_MS_FIRST = 100
const BACKOFF_MS_MAX = 10_000
/** The call has waited already, or its caller has said how long. */
const WAITED: ReadonlySet<string> = new Set(['NOT_REACHED', 'VIEW_TOO_OLD', 'ROW_NOT_FOUND', 'ROW_NOT_YET'])

export class Calls {
  readonly #base: string
  readonly #options: ClientOptions

  constructor(url: string, options: ClientOptions) {
    this.#base = url.replace(/\/+$/, '')
    this.#options = options
  }

  /** Of subscriptions. */
  get silentMsMax(): number {
    return this.#options.silentMsMax ?? SILENT_MS_MAX_DEFAULT
  }

  /** @throws ClientError; the signal's reason */
  json(call: Call): Promise<JsonAnswer> {
    return this.#retried(call, this.#retries(call), async () => {
      const limit = AbortSignal.timeout(this.#waitsOf(call) + this.#answerTimeoutMs)
      const signal = call.signal ? AbortSignal.any([call.signal, limit]) : limit
      const response = await this.#send(call, signal)
      return { body: this.#parsed(response, await this.#textOf(response, call.signal)), headers: response.headers }
    })
  }

  /** @throws as `json`, until the answer begins */
  stream(call: Call, { silentMsMax = this.#answerTimeoutMs, retries }: StreamOptions = {}): Promise<StreamAnswer> {
    return this.#retried(call, retries ?? this.#retries(call), async () => {
      const late = new AbortController()
      const timer = setTimeout(
        () => late.abort(new Error('no answer has begun in time')),
        this.#waitsOf(call) + silentMsMax,
      )
      const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal
      try {
        const { headers, body } = await this.#send(call, signal)
        if (!body) throw unreachable(this.#base, new Error('the answer has no body'))
        const failed = (error: unknown) => call.signal?.reason ?? unreachable(this.#base, error)
        return { headers, pieces: piecesOf(body, { silentMsMax, failed }) }
      } finally {
        clearTimeout(timer)
      }
    })
  }

  #retries(call: Call): number {
    return call.safe ? (this.#options.retries ?? RETRIES_DEFAULT) : 0
  }

  get #answerTimeoutMs(): number {
    return this.#options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS_DEFAULT
  }

  /** What the call itself waits for. */
  #waitsOf(call: Call): number {
    return Number(call.query?.['timeoutMs'] ?? 0)
  }

  async #retried<T>(call: Call, retries: number, attempt: () => Promise<T>): Promise<T> {
    for (let n = 0; ; n++) {
      try {
        return await attempt()
      } catch (error) {
        const leastMs = waitBefore(error)
        if (n >= retries || leastMs === undefined) throw error
        await pause(Math.max(backoffMs(n), leastMs), call.signal)
      }
    }
  }

  async #send(call: Call, signal: AbortSignal | undefined): Promise<Response> {
    call.signal?.throwIfAborted()
    const { body } = call
    const headers = { ...this.#options.headers, ...(await this.#authorization()), ...call.headers }
    const request = this.#options.fetch ?? fetch
    let response: Response
    try {
      response = await request(urlOf(this.#base, call), {
        method: body === undefined ? 'GET' : 'POST',
        headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
        // What a browser keeps would say a position and an age of its own time.
        cache: 'no-store',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal ? { signal } : {}),
      })
    } catch (error) {
      call.signal?.throwIfAborted()
      throw unreachable(this.#base, error)
    }
    if (response.ok) return response
    const error = errorOfAnswer(this.#base, response.status, await this.#textOf(response, call.signal))
    retryAfter.set(error, Number(response.headers.get('retry-after') ?? 0) * 1000 || 0)
    throw error
  }

  #parsed({ status }: Response, text: string): unknown {
    try {
      return JSON.parse(text)
    } catch {
      throw errorOfAnswer(this.#base, status, text)
    }
  }

  async #textOf(response: Response, signal: AbortSignal | undefined): Promise<string> {
    try {
      return await response.text()
    } catch (error) {
      signal?.throwIfAborted()
      throw unreachable(this.#base, error)
    }
  }

  async #authorization(): Promise<Record<string, string>> {
    const { token } = this.#options
    if (token === undefined) return {}
    return { authorization: `Bearer ${typeof token === 'string' ? token : await token()}` }
  }
}

/** A call's URL. @param base without a path, or with that of a proxy */
export function urlOf(base: string, { path, query = {}, keys = {} }: Pick<Call, 'path' | 'query' | 'keys'>): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    for (const each of Array.isArray(value) ? value : [value]) if (each !== undefined) search.append(name, String(each))
  const encoded = Object.entries(keys).flatMap(([name, value]) => [value].flat().map(each => `${name}=${each}`))
  const all = [...(search.size > 0 ? [String(search)] : []), ...encoded]
  return `${base.replace(/\/+$/, '')}${path}${all.length > 0 ? `${path.includes('?') ? '&' : '?'}${all.join('&')}` : ''}`
}

/** What an answer says of when to ask again, milliseconds. */
const retryAfter = new WeakMap<object, number>()

/** The least time after which the call may be tried again; undefined: it may not. */
function waitBefore(error: unknown): number | undefined {
  const { retriable, code } = error as Partial<ClientError>
  if (retriable !== true || (code !== undefined && WAITED.has(code))) return undefined
  return Math.min(retryAfter.get(error as object) ?? 0, BACKOFF_MS_MAX)
}

/** Doubled with each attempt, and spread, so that many clients do not come back together. */
export const backoffMs = (attempt: number): number =>
  Math.min(BACKOFF_MS_FIRST * 2 ** attempt, BACKOFF_MS_MAX) * (0.5 + Math.random() / 2)

/** @throws the signal's reason */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', leave)
      resolve()
    }, ms)
    const leave = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    if (signal?.aborted) leave()
    else signal?.addEventListener('abort', leave, { once: true })
  })
}
