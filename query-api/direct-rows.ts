// Rows by key, answered before Fastify sees the request: its router, its request and reply, and its hooks take more than finding the row
// and writing it. Only the plain case is answered here, a row that is there, now, without parameters; whatever is not, Fastify's route
// answers, which gives the same in this case too. So nothing that can go wrong has a second place where it is told.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { AnyRow } from '../core/index.ts'
import type { CutRead } from '../projections/index.ts'
import { etagOf } from './etag.ts'
import type { Reads, ServedView } from './reads.ts'
import { headerOf, JSON_TYPE, parseKey, rowBody } from './routes-reads.ts'
import type { Access } from './security/access.ts'
import type { RateLimit } from './security/rate-limit.ts'
import type { Viewer } from './security/viewer.ts'

export interface DirectRowsParts {
  readonly reads: Reads
  /** Counts a request, as the route's hook does. */
  readonly count: (response: ServerResponse, startedMs?: number) => void
  readonly access: Access | undefined
  readonly rateLimit: RateLimit | undefined
}

const VIEWS = '/v1/views/'
const ROWS = '/rows/'

interface Asked {
  readonly served: ServedView
  readonly key: unknown
  readonly viewer: Viewer | undefined
}

export class DirectRows {
  readonly #parts: DirectRowsParts
  readonly #otherwise: RequestListener
  #ended = false

  /** @param otherwise answers what is not answered here */
  constructor(parts: DirectRowsParts, otherwise: RequestListener) {
    this.#parts = parts
    this.#otherwise = otherwise
  }

  /** From now on nothing is answered here: Fastify tells clients that the server closes. */
  end(): void {
    this.#ended = true
  }

  readonly listener: RequestListener = (request, response) => {
    const asked = this.#ended ? undefined : this.#asked(request)
    if (asked === undefined || !this.#answer(asked, request, response)) this.#otherwise(request, response)
  }

  /** What is asked for; undefined where that is not the plain case, or not allowed. */
  #asked({ method, url = '', headers }: IncomingMessage): Asked | undefined {
    if (method !== 'GET' || !url.startsWith(VIEWS)) return undefined
    const end = url.indexOf('/', VIEWS.length)
    if (!url.startsWith(ROWS, end)) return undefined
    const text = url.slice(end + ROWS.length)
    if (/[/?#]/.test(text) || headers['if-none-match'] !== undefined) return undefined
    const { reads, access } = this.#parts
    const name = url.slice(VIEWS.length, end)
    const live = reads.engine.views.get(name)
    if (live === undefined) return undefined
    try {
      const viewer = access?.viewer(headers.authorization)
      if (viewer instanceof Promise || viewer?.allows(`view:${name}`) === false) return undefined
      return { served: reads.view(name), key: parseKey(live.key, text), viewer }
    } catch {
      return undefined
    }
  }

  /** False where there is nothing to be answered, or not here. */
  #answer(asked: Asked, request: IncomingMessage, response: ServerResponse): boolean {
    const { served, key, viewer } = asked
    try {
      const read = this.#parts.reads.read([{ view: served.live.name, key }], viewer)
      if (!(read instanceof Promise)) return this.#send(asked, read, request, response)
      const startedMs = performance.now()
      const otherwise = () => this.#otherwise(request, response)
      read
        .then(rows => this.#send(asked, rows, request, response, startedMs))
        .then(sent => sent || otherwise(), otherwise)
      return true
    } catch {
      return false
    }
  }

  #send(
    { served, key, viewer }: Asked,
    { rows, ...read }: CutRead,
    { socket }: IncomingMessage,
    response: ServerResponse,
    startedMs?: number,
  ): boolean {
    const row: AnyRow | undefined = rows[0]
    if (row === undefined) return false
    const { reads, rateLimit, count } = this.#parts
    const value = served.writeValue(row)
    const body = rowBody(served, key, value, reads.freshness([served.live], read))
    const head = [
      'content-type',
      JSON_TYPE,
      'etag',
      etagOf(value),
      'cache-control',
      'no-store',
      'content-length',
      String(Buffer.byteLength(body)),
    ]
    const types = headerOf(served)
    if (types !== undefined) head.push('mainstem-types', types)
    try {
      // The last that may fail: the route takes it again.
      rateLimit?.take(viewer?.name ?? socket.remoteAddress ?? '')
    } catch {
      return false
    }
    count(response, startedMs)
    response.writeHead(200, head).end(body)
    return true
  }
}
