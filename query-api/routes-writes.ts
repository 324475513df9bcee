// Calls that change something: appends to the application's own topics, removing history, dropping a source; and beginning a verification or a replay.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fail, type SourceConnector } from '../core/index.ts'
import type { Appends } from './append.ts'
import { idempotencyKeyOf, type KeyedAppends } from './keyed-appends.ts'
import { cleanRequestOf, cleanWire } from './log-clean.ts'
import { bodyJson, checkNames } from './parameters.ts'
import type { Reads } from './reads.ts'
import { replayJson, replayRequestOf } from './replay-wire.ts'
import { queryOf, sendJson } from './routes-reads.ts'
import { verifyJson, verifyRequestOf } from './verify-wire.ts'

export function addWriteRoutes(server: FastifyInstance, appends: Appends, keyed: KeyedAppends, reads: Reads): void {
  const { log, sources, engine } = reads
  server.post<{ Params: { topic: string } }>('/v1/topics/:topic', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    // The topic first: what is wrong with the body of a call that can never succeed is of no use.
    const { topic } = request.params
    appends.topic(topic)
    const key = idempotencyKeyOf(request.headers['idempotency-key'])
    const json = bodyJson(request.body)
    const who = request.viewer?.name ?? 'anybody'
    const result = await (key === undefined
      ? appends.appendJson(topic, json)
      : keyed.append({ topic, who, key, body: String(request.body), json }))
    sendJson(reply, JSON.stringify(result))
    return reply
  })

  server.post('/v1/log/clean', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const report = await log.clean(cleanRequestOf(bodyJson(request.body)))
    sendJson(reply, JSON.stringify(cleanWire(report)))
    return reply
  })

  server.post('/v1/verify', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const status = engine.verifier.start(verifyRequestOf(bodyJson(request.body)))
    sendJson(reply, verifyJson(reads, status))
    return reply
  })

  server.post<{ Params: { view: string } }>('/v1/views/:view/replay', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const { name } = reads.view(request.params.view).live
    const status = await engine.replayer.start(name, replayRequestOf(bodyJson(request.body)))
    sendJson(reply, replayJson(reads, status))
    return reply
  })

  server.delete<{ Params: { source: string } }>('/v1/sources/:source', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const report = await sourceOf(sources, request.params.source).drop()
    sendJson(reply, JSON.stringify(report))
    return reply
  })
}

/** @throws SOURCE_UNKNOWN */
export function sourceOf(sources: ReadonlyMap<string, SourceConnector>, name: string): SourceConnector {
  const source = sources.get(name)
  if (source) return source
  throw fail('SOURCE_UNKNOWN', `there is no source '${name.slice(0, 100)}'`, {
    detail: `the application has ${[...sources.keys()].join(', ') || 'no sources'}`,
  })
}

/**
 * A web page of another origin must not write here, and a body that is taken for JSON whatever its type would let it:
 * browsers send such requests without asking first. They always say where a page comes from; other clients say nothing.
 * @throws ORIGIN_REFUSED
 */
export function checkOrigin({ headers, server }: FastifyRequest): void {
  const { origin, host } = headers
  if (origin === undefined || server.corsOrigins.has(origin)) return
  if (URL.canParse(origin) && new URL(origin).host === host) return
  throw fail('ORIGIN_REFUSED', 'a page of another origin cannot write here', {
    detail: `it comes from ${origin.slice(0, 200)}`,
  })
}
