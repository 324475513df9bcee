// What views have skipped: listed, and called again.
import type { FastifyInstance } from 'fastify'
import { deadLetterPage, redrivenWire, redriveRequestOf } from './dead-letters.ts'
import { LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { bodyJson, checkNames, integer } from './parameters.ts'
import type { Reads } from './reads.ts'
import { queryOf, sendJson } from './routes-reads.ts'
import { checkOrigin } from './routes-writes.ts'

interface ViewParams {
  readonly view: string
}

export function addDeadLetterRoutes(server: FastifyInstance, { engine, log }: Reads): void {
  server.get<{ Params: ViewParams }>('/v1/views/:view/dead-letters', async (request, reply) => {
    const query = queryOf(request)
    checkNames(query, ['from', 'limit'])
    const from = integer(query, 'from', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 })
    const limit = integer(query, 'limit', { min: 1, max: LOG_PAGE_MAX, fallback: LOG_PAGE_DEFAULT })
    const letters = await engine.deadLetters.list(request.params.view)
    sendJson(reply, JSON.stringify(deadLetterPage(letters, from, limit)))
    return reply
  })

  server.post<{ Params: ViewParams }>('/v1/views/:view/dead-letters/redrive', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const { view } = request.params
    const redriven = await engine.deadLetters.redrive(view, redriveRequestOf(bodyJson(request.body)))
    sendJson(reply, JSON.stringify(redrivenWire(log.id, redriven)))
    return reply
  })
}
