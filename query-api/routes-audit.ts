// `/v1/sources/{source}/audit`: comparing a source's tables with what the log has of them.
import type { FastifyInstance } from 'fastify'
import { type AuditRequest, fail } from '../core/index.ts'
import { bodyJson, checkNames } from './parameters.ts'
import type { Reads } from './reads.ts'
import { queryOf, sendJson } from './routes-reads.ts'
import { checkOrigin, sourceOf } from './routes-writes.ts'

interface SourceParams {
  readonly source: string
}

export function addAuditRoutes(server: FastifyInstance, { sources }: Reads): void {
  const path = '/v1/sources/:source/audit'
  server.get<{ Params: SourceParams }>(path, (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify(sourceOf(sources, request.params.source).audits.status()))
  })

  server.post<{ Params: SourceParams }>(path, (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const source = sourceOf(sources, request.params.source)
    sendJson(reply, JSON.stringify(source.audits.start(auditRequestOf(bodyJson(request.body)))))
  })

  server.delete<{ Params: SourceParams }>(path, (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const cancelled = sourceOf(sources, request.params.source).audits.cancel()
    sendJson(reply, JSON.stringify({ cancelled }))
  })
}

/** `{ tables?, rowsPerSecondMax?, repair? }`. @throws REQUEST_INVALID */
export function auditRequestOf(body: unknown): AuditRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalid('the body is not an object')
  const { tables, rowsPerSecondMax, repair = false, ...rest } = body as Record<string, unknown>
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw invalid(`unknown member '${unknown.slice(0, 100)}'`)
  const areNames = Array.isArray(tables) && tables.length > 0 && tables.every(name => typeof name === 'string')
  if (tables !== undefined && !areNames) throw invalid("'tables' is not a list of names")
  const isRate = Number.isSafeInteger(rowsPerSecondMax) && Number(rowsPerSecondMax) >= 1
  if (rowsPerSecondMax !== undefined && !isRate) throw invalid("'rowsPerSecondMax' is not a whole number from 1")
  if (typeof repair !== 'boolean') throw invalid("'repair' is neither true nor false")
  return {
    ...(areNames ? { tables } : {}),
    ...(isRate ? { rowsPerSecondMax: Number(rowsPerSecondMax) } : {}),
    repair,
  }
}

const invalid = (message: string) =>
  fail('REQUEST_INVALID', message, {
    hint: 'send {} for all tables, or {"tables": ["orders"], "rowsPerSecondMax": 50000, "repair": true}',
  })
