// Spans by OpenTelemetry's API (an SDK, loaded beside the application, exports them): one for each request, in the trace that its
// `traceparent` names; one for folding what an append brought, until all views have it; and a link from a read that waits for a write to
// the request that wrote it. Records have no room for a trace: which request wrote a position is remembered here, for the newest ones.
import {
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../core/index.ts'
import type { Engine } from '../projections/index.ts'
import { tokensOf } from './parameters.ts'
import { pathOf } from './problem.ts'
import { parseToken } from './token.ts'

/** Positions whose request is remembered: what is older is hardly waited for any more. */
const REMEMBERED_MAX = 10_000
/** Appends whose folding is timed at the same time. */
const FOLDING_MAX = 1_000
/** Beyond it a fold's span ends unfinished: its view has stopped, or is far behind. */
const FOLD_MS_MAX = 60_000

/** Whether whoever started the process wants spans, by OpenTelemetry's own variables. */
export const isTraced = (environment: NodeJS.ProcessEnv = process.env): boolean =>
  Boolean(environment['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? environment['OTEL_TRACES_EXPORTER'])

export class Tracing {
  readonly #engine: Pick<Engine, 'waitFor'>
  readonly #log: Pick<Log, 'id'>
  readonly #tracer = trace.getTracer('mainstem')
  readonly #written = new Map<number, SpanContext>()
  #folding = 0

  constructor(engine: Pick<Engine, 'waitFor'>, log: Pick<Log, 'id'>) {
    this.#engine = engine
    this.#log = log
  }

  /** To be called before routes are added. */
  watch(server: FastifyInstance): void {
    const spans = new WeakMap<FastifyRequest, Span>()
    server.addHook('onRequest', (request, reply, done) => {
      spans.set(request, this.#begin(request, reply))
      done()
    })
    server.addHook('onSend', (request, reply, payload, done) => {
      const span = spans.get(request)
      if (span && request.method === 'POST' && reply.statusCode === 200 && typeof payload === 'string')
        this.#wrote(span, payload)
      done()
    })
  }

  #begin(request: FastifyRequest, { raw }: FastifyReply): Span {
    const { method, url, headers } = request
    const route = request.routeOptions.url
    const attributes = {
      'http.request.method': method,
      'url.path': pathOf(url),
      ...(route === undefined ? {} : { 'http.route': route }),
    }
    const parent = propagation.extract(ROOT_CONTEXT, headers)
    const name = route === undefined ? method : `${method} ${route}`
    const span = this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent)
    for (const written of this.#waitedFor(request)) span.addLink({ context: written })
    raw.once('close', () => {
      span.setAttribute('http.response.status_code', raw.statusCode)
      if (raw.statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
    })
    return span
  }

  /** The requests that wrote what a read waits for. What is wrong with its tokens, the read says. */
  #waitedFor({ query }: FastifyRequest): readonly SpanContext[] {
    const { after } = query as { readonly after?: string | readonly string[] }
    try {
      return tokensOf(after).flatMap(text => {
        const token = parseToken(text, this.#log.id)
        return (token.kind === 'log' && this.#written.get(token.position)) || []
      })
    } catch {
      return []
    }
  }

  /** A request wrote what its answer's token stands for. */
  #wrote(span: Span, payload: string): void {
    const position = this.#positionOf(payload)
    if (position === undefined) return
    span.setAttribute('mainstem.position', String(position))
    if (this.#written.size >= REMEMBERED_MAX) this.#written.delete(this.#written.keys().next().value!)
    this.#written.set(position, span.spanContext())
    if (this.#folding < FOLDING_MAX) void this.#fold(position, trace.setSpan(context.active(), span))
  }

  #positionOf(payload: string): number | undefined {
    const { token } = JSON.parse(payload) as { readonly token?: unknown }
    if (typeof token !== 'string') return undefined
    const parsed = parseToken(token, this.#log.id)
    return parsed.kind === 'log' ? parsed.position : undefined
  }

  async #fold(position: number, parent: Context): Promise<void> {
    const attributes = { 'mainstem.position': String(position) }
    const span = this.#tracer.startSpan('fold', { kind: SpanKind.CONSUMER, attributes }, parent)
    this.#folding++
    try {
      await this.#engine.waitFor(position, AbortSignal.timeout(FOLD_MS_MAX))
    } catch {
      span.setStatus({ code: SpanStatusCode.ERROR, message: 'the views have not reached it' })
    } finally {
      this.#folding--
      span.end()
    }
  }
}
