// What a view was and how it came to be: the lineage of a row, and the export of all rows at one cut.
import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { fail } from '../core/index.ts'
import { whileConnected } from './connected.ts'
import { EXPORT_FORMATS, EXPORT_TYPES, type ExportFormat, exportText } from './export.ts'
import { LINEAGE_DEFAULT, LINEAGE_MAX } from './limits.ts'
import { checkField, lineageJson } from './lineage.ts'
import { checkNames, integer, placeOf, type Query, text } from './parameters.ts'
import type { Reads } from './reads.ts'
import { replayJson } from './replay-wire.ts'
import { headerOf, keySegment, parseKey, queryOf, sendJson } from './routes-reads.ts'

interface ViewParams {
  readonly view: string
}

export function addPastRoutes(server: FastifyInstance, reads: Reads): void {
  server.get<{ Params: ViewParams }>('/v1/views/:view/rows/:key/lineage', async (request, reply) => {
    const query = queryOf(request)
    checkNames(query, ['field', 'limit', 'before', 'at'])
    const served = reads.view(request.params.view)
    const { live } = served
    const key = parseKey(live.key, lineageKey(request.raw.url ?? ''))
    const field = text(query, 'field')
    if (field !== undefined) checkField(served, field)
    const limit = integer(query, 'limit', { min: 1, max: LINEAGE_MAX, fallback: LINEAGE_DEFAULT })
    const all = Number.MAX_SAFE_INTEGER
    const before = integer(query, 'before', { min: 0, max: all, fallback: all })
    const at = placeOf(query)
    const lineage = await whileConnected(reply, signal =>
      reads.lineage(served, key, request.viewer, { limit, before, field, at, signal }),
    )
    const types = headerOf(served)
    if (types !== undefined) reply.header('mainstem-types', types)
    sendJson(reply, lineageJson(served, key, lineage))
    return reply
  })

  server.get<{ Params: ViewParams }>('/v1/views/:view/export', async (request, reply) => {
    const query = queryOf(request)
    checkNames(query, ['format', 'at'])
    const served = reads.view(request.params.view)
    const format = formatOf(query)
    const at = placeOf(query)
    // Until the first row is read a client that leaves ends it; then its stream does.
    const { name } = served.live
    const gone = new AbortController()
    const rows = await whileConnected(reply, signal => {
      signal.addEventListener('abort', () => gone.abort(signal.reason), { once: true })
      return reads.rows(served, at, request.viewer, { signal: gone.signal })
    })
    const stream = Readable.from(exportText(served, rows, format))
    stream.once('close', () => rows.close())
    const types = headerOf(served)
    if (types !== undefined) reply.header('mainstem-types', types)
    reply.headers({
      'content-type': EXPORT_TYPES[format],
      'content-disposition': `attachment; filename="${name}-${rows.position}.${format}"`,
      'mainstem-position': String(rows.position),
      ...(rows.rows === undefined ? {} : { 'mainstem-rows': String(rows.rows) }),
      'mainstem-final': String(rows.final),
    })
    return reply.send(stream)
  })
}

/** How the replay of a view goes, or went; that of another one is not told. */
export function addReplayStatus(server: FastifyInstance, reads: Reads): void {
  server.get<{ Params: ViewParams }>('/v1/views/:view/replay', (request, reply) => {
    checkNames(queryOf(request), [])
    const { name } = reads.view(request.params.view).live
    const status = reads.engine.replayer.status()
    const none = { state: 'idle', view: null, progress: null, report: null, error: null } as const
    sendJson(reply, replayJson(reads, status.view === name ? status : none))
  })
}

/** The key's segment, without what follows it. */
function lineageKey(url: string): string {
  const rest = keySegment(url)
  return rest.slice(0, rest.lastIndexOf('/'))
}

/** @throws REQUEST_INVALID */
function formatOf(query: Query): ExportFormat {
  const given = text(query, 'format') ?? 'ndjson'
  const format = EXPORT_FORMATS.find(each => each === given)
  if (format) return format
  throw fail('REQUEST_INVALID', `'${given.slice(0, 100)}' is no format of an export`, {
    hint: `it is one of ${EXPORT_FORMATS.join(', ')}`,
  })
}
