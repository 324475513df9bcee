// Calls for those who operate the application: the log, sources, health, and the description of all calls.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fail } from '../core/index.ts'
import { logWire } from './catalog.ts'
import { type Ailing, ailingText, type HealthMonitor } from './health.ts'
import { LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { readLogPage } from './log-page.ts'
import type { Metrics } from './metrics.ts'
import { bodyJson, checkNames, integer } from './parameters.ts'
import { parkedRetryOf, parkedWire, retriedWire } from './parked.ts'
import type { SourceRates } from './rates.ts'
import type { Reads } from './reads.ts'
import { queryOf, sendJson } from './routes-reads.ts'
import { checkOrigin, sourceOf } from './routes-writes.ts'
import { verifyJson } from './verify-wire.ts'

export interface OperationParts {
  readonly application: string
  readonly reads: Reads
  readonly health: HealthMonitor
  readonly rates: SourceRates
  readonly metrics: Metrics
  /** The OpenAPI document as text. */
  readonly openapi: string
}

interface SourceParams {
  readonly source: string
}

export function addOperationRoutes(server: FastifyInstance, parts: OperationParts): void {
  const { application, health, rates, metrics, openapi } = parts
  const { log, sources } = parts.reads

  server.get('/v1/sources', (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify({ sources: [...sources.values()].map(source => rates.wire(source)) }))
  })
  server.get<{ Params: SourceParams }>('/v1/sources/:source', (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify(rates.wire(sourceOf(sources, request.params.source))))
  })
  server.get<{ Params: SourceParams }>('/v1/sources/:source/parked', (request, reply) => {
    const limit = pageLimit(request, ['limit'])
    const source = sourceOf(sources, request.params.source)
    sendJson(reply, JSON.stringify({ parked: parkedWire(source.parked(limit)), total: source.status().parked }))
  })
  server.post<{ Params: SourceParams }>('/v1/sources/:source/parked/retry', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const source = sourceOf(sources, request.params.source)
    const retried = await source.retryParked(parkedRetryOf(bodyJson(request.body), source.name))
    sendJson(reply, JSON.stringify(retriedWire(log.id, retried)))
    return reply
  })

  server.get('/v1/log', (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify(logWire(log)))
  })
  server.get<{ Params: { topic: string } }>('/v1/log/:topic', async (request, reply) => {
    const limit = pageLimit(request, ['from', 'limit'])
    const from = integer(queryOf(request), 'from', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 1 })
    const { records, next, end, horizon } = await readLogPage(log, request.params.topic, from, limit)
    const place = `"next":"${next}","end":"${end}","horizon":${horizon === null ? 'null' : `"${horizon}"`}`
    sendJson(reply, `{"records":[${records.join(',')}],${place}}`)
    return reply
  })

  server.get('/v1/verify', (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, verifyJson(parts.reads, parts.reads.engine.verifier.status()))
  })

  server.get('/health/live', (_, reply) => answerHealth(reply, application, 'NOT_LIVE', health.stuck()))
  server.get('/health/ready', (_, reply) => answerHealth(reply, application, 'NOT_READY', health.awaited()))
  server.get('/metrics', async (request, reply) => {
    checkNames(queryOf(request), [])
    reply.header('cache-control', 'no-store').header('content-type', metrics.contentType)
    return metrics.text()
  })
  server.get('/openapi.json', (_, reply) => sendJson(reply, openapi))
}

const pageLimit = (request: FastifyRequest, names: readonly string[]): number => {
  checkNames(queryOf(request), names)
  return integer(queryOf(request), 'limit', { min: 1, max: LOG_PAGE_MAX, fallback: LOG_PAGE_DEFAULT })
}

/** Health is asked of this moment: no cache on the way may answer. @throws NOT_LIVE, NOT_READY naming what is awaited */
function answerHealth(
  reply: FastifyReply,
  application: string,
  code: 'NOT_LIVE' | 'NOT_READY',
  parts: readonly Ailing[],
): void {
  reply.header('cache-control', 'no-store')
  if (parts.length === 0) {
    sendJson(reply, JSON.stringify({ application, status: code === 'NOT_LIVE' ? 'live' : 'ready' }))
    return
  }
  const message =
    code === 'NOT_LIVE' ? 'a part neither advances nor says what it waits for' : 'the application is not ready'
  throw fail(code, message, { detail: ailingText(parts), data: { waitingFor: parts } })
}
