// Rows by key, answered before Fastify sees the request: its router, its request and reply, and its hooks take more than finding the row
// and writing it. Only the plain case is answered here, a row that is there, now, without parameters; whatever is not, Fastify's route
// answers, which gives the same in this case too. So nothing that can go wrong has a second place where it is told.
import type { AnyRow } from '../../core/index.ts'
import type { CutRead } from '../../projections/index.ts'
import { etagOf } from '../etag.ts'
import type { RequestCount } from '../metrics.ts'
import type { Reads, ServedView } from '../reads.ts'
import { headerOf, JSON_TYPE, parseKey, rowBody } from '../routes-reads.ts'
import type { Access } from '../security/access.ts'
import type { RateLimit } from '../security/rate-limit.ts'
import type { Viewer } from '../security/viewer.ts'

export interface RowAnswersParts {
  readonly reads: Reads
  /** Counts a request, as the route's hook does. */
  readonly count: RequestCount
  readonly access: Access | undefined
  readonly rateLimit: RateLimit | undefined
}

/** What is asked, of a GET. */
export interface RowRequest {
  /** The request's target, a path. */
  readonly target: string
  readonly authorization: string | undefined
  /** The client's address. */
  readonly address: string | undefined
}

export interface RowAnswer {
  readonly etag: string
  /** What the header `mainstem-types` says, if it is there. */
  readonly types: string | undefined
  readonly body: string
  /** Undefined where this request's time is not measured. @param status of what was answered */
  readonly ended: ((status: number) => void) | undefined
}

/** Headers that all these answers have, by name and value in turn. */
export const ROW_HEADERS = ['content-type', JSON_TYPE, 'cache-control', 'no-store'] as const

interface Asked {
  readonly served: ServedView
  readonly key: unknown
  readonly viewer: Viewer | undefined
  readonly address: string | undefined
}

export const VIEWS = '/v1/views/'
const ROWS = '/rows/'
/** Another route, a parameter, or nothing that a URL may have. */
const NOT_A_KEY = /[/?#]|[^!-~]/

export class RowAnswers {
  readonly #parts: RowAnswersParts
  #ended = false

  constructor(parts: RowAnswersParts) {
    this.#parts = parts
  }

  /** From now on nothing is answered here: Fastify tells clients that the server closes. */
  end(): void {
    this.#ended = true
  }

  /** At once where the rows are in this thread; undefined where the answer is Fastify's. Rejects nothing. */
  answer(request: RowRequest): RowAnswer | undefined | Promise<RowAnswer | undefined> {
    const asked = this.#ended ? undefined : this.#asked(request)
    if (asked === undefined) return undefined
    try {
      const read = this.#parts.reads.read([{ view: asked.served.live.name, key: asked.key }], asked.viewer)
      if (!(read instanceof Promise)) return this.#found(asked, read)
      const startedMs = performance.now()
      return read.then(
        rows => this.#found(asked, rows, startedMs),
        () => undefined,
      )
    } catch {
      return undefined
    }
  }

  /** What is asked for; undefined where that is not the plain case, or not allowed. */
  #asked({ target, authorization, address }: RowRequest): Asked | undefined {
    if (!target.startsWith(VIEWS)) return undefined
    const end = target.indexOf('/', VIEWS.length)
    if (!target.startsWith(ROWS, end)) return undefined
    const text = target.slice(end + ROWS.length)
    if (NOT_A_KEY.test(text)) return undefined
    const { reads, access } = this.#parts
    const name = target.slice(VIEWS.length, end)
    const live = reads.engine.views.get(name)
    if (live === undefined) return undefined
    try {
      const viewer = access?.viewer(authorization)
      if (viewer instanceof Promise || viewer?.allows(`view:${name}`) === false) return undefined
      return { served: reads.view(name), key: parseKey(live.key, text), viewer, address }
    } catch {
      return undefined
    }
  }

  #found({ served, key, viewer, address }: Asked, read: CutRead, startedMs?: number): RowAnswer | undefined {
    const row: AnyRow | undefined = read.rows[0]
    if (row === undefined) return undefined
    const { reads, rateLimit, count } = this.#parts
    const value = served.writeValue(row)
    const body = rowBody(served, key, value, reads.freshness([served.live], read))
    try {
      // The last that may fail: the route takes it again.
      rateLimit?.take(viewer?.name ?? address ?? '')
    } catch {
      return undefined
    }
    return { etag: etagOf(value), types: headerOf(served), body, ended: count(startedMs) }
  }
}
