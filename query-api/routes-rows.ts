// Ranges of rows: a page of them as JSON, or all of them, line by line, as fast as the client takes them.
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { whileConnected } from './connected.ts'
import { EXPORT_TYPES, rowJson } from './export.ts'
import { RANGE_PAGE_DEFAULT } from './limits.ts'
import { whenOf } from './parameters.ts'
import { RANGE_NAMES, rangeOf } from './range-query.ts'
import { rangeLines } from './range-stream.ts'
import { readRange } from './ranges.ts'
import type { Reads } from './reads.ts'
import { freshnessJson, headerOf, queryOf, sendJson, waitFirst } from './routes-reads.ts'

interface ViewParams {
  readonly view: string
}

export function addRowRoutes(server: FastifyInstance, reads: Reads): void {
  server.get<{ Params: ViewParams }>('/v1/views/:view/rows', async (request, reply) => {
    const served = reads.view(request.params.view)
    const { live } = served
    const { query, limit, rest } = rangeOf(live, queryOf(request), request.raw.url ?? '')
    const when = whenOf(rest, RANGE_NAMES)
    await waitFirst(reads, [served], when, reply)
    const types = headerOf(served)
    if (types !== undefined) reply.header('mainstem-types', types)
    if (wantsLines(request)) {
      const lines = await whileConnected(reply, signal =>
        rangeLines(reads, served, query, { ...when, limit, viewer: request.viewer, signal }),
      )
      const stream = Readable.from(lines)
      stream.once('close', () => lines.close())
      reply.header('content-type', EXPORT_TYPES.ndjson)
      return reply.send(stream)
    }
    const { at, timeoutMs, age } = when
    const page = await whileConnected(reply, signal =>
      readRange(reads, live, query, { most: limit ?? RANGE_PAGE_DEFAULT, at, timeoutMs, age, signal }, request.viewer),
    )
    const sources = when.sources ? await reads.sourcePositions([live], page.position) : undefined
    const freshness = reads.freshness([live], { ...page, ...(sources ? { sources } : {}) })
    const rows = page.rows.map(row => rowJson(served, row)).join(',')
    sendJson(reply, `{"rows":[${rows}],"cursor":${JSON.stringify(page.cursor)},${freshnessJson(freshness)}}`)
    return reply
  })
}

/** Lines where they are asked for by their type, and JSON is not. */
function wantsLines({ headers }: FastifyRequest): boolean {
  const accepted = (headers.accept ?? '').toLowerCase()
  return accepted.includes('application/x-ndjson') && !accepted.includes('application/json')
}
