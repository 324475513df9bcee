// Reads of views, written by code generated for each. A row that is there, and is asked for as it is now, does not come here: direct-rows.ts.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type AnyRow, fail, isMainstemError, type KeyCodec } from '../core/index.ts'
import type { CutRead, LiveView, RowRequest } from '../projections/index.ts'
import { viewDetail, viewSummary } from './catalog.ts'
import { whileConnected } from './connected.ts'
import { etagOf, hasIt } from './etag.ts'
import { typesHeader } from './json-writer.ts'
import { bodyJson, checkNames, keysOf, type Query, readsOf, type Waiting, whenOf } from './parameters.ts'
import { PROBLEM_JSON, problem } from './problem.ts'
import type { Freshness, Reads, ServedView, SourcePositions } from './reads.ts'

export const JSON_TYPE = 'application/json; charset=utf-8'

interface ViewParams {
  readonly view: string
}

export const queryOf = (request: FastifyRequest): Query => request.query as Query

const headers = new WeakMap<ServedView, { readonly value: string | undefined }>()

/** What the header `mainstem-types` says of a view's values; undefined where there is nothing to say. */
export function headerOf(served: ServedView): string | undefined {
  const known = headers.get(served)
  if (known) return known.value
  const value = typesHeader(served.types)
  headers.set(served, { value })
  return value
}

export function addReadRoutes(server: FastifyInstance, reads: Reads): void {
  server.get('/v1/views', (request, reply) => {
    checkNames(queryOf(request), [])
    const names = [...reads.engine.views.keys()].filter(name => request.viewer?.allows(`view:${name}`) ?? true)
    const views = names.map(name => viewSummary(reads, reads.view(name), request.viewer))
    sendJson(reply, JSON.stringify({ views, position: String(reads.engine.position), logEnd: String(reads.log.end) }))
  })

  server.get<{ Params: ViewParams }>('/v1/views/:view', async (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify(await viewDetail(reads, reads.view(request.params.view), request.viewer)))
    return reply
  })

  const answerRow = (
    request: FastifyRequest,
    reply: FastifyReply,
    served: ServedView,
    key: unknown,
    { rows: [row], ...read }: PlacedRead,
  ): void => {
    const freshness = reads.freshness([served.live], read)
    if (row === undefined) {
      sendRowMissing(request, reply, served, freshness, read.past ?? false)
      return
    }
    const types = headerOf(served)
    if (types !== undefined) reply.header('mainstem-types', types)
    const value = served.writeValue(row)
    const etag = etagOf(value)
    // Whoever keeps an answer and shows it again would show a position and an age that were those of then.
    reply.header('etag', etag).header('cache-control', 'no-store')
    const known = request.headers['if-none-match']
    if (known !== undefined && hasIt(known, etag)) sendUnchanged(reply, freshness)
    else sendJson(reply, rowBody(served, key, value, freshness))
  }
  server.get<{ Params: ViewParams }>('/v1/views/:view/rows/:key', async (request, reply) => {
    const served = reads.view(request.params.view)
    const key = parseKey(served.live.key, keySegment(request.raw.url ?? ''))
    const read = await readWhen(reads, request, reply, [served], [{ view: served.live.name, key }])
    answerRow(request, reply, served, key, read)
    return reply
  })

  server.post<{ Params: ViewParams }>('/v1/views/:view/lookup', async (request, reply) => {
    const served = reads.view(request.params.view)
    const { live } = served
    const keys = keysOf(bodyJson(request.body)).map((key, n) => keyAt(live, key, n))
    const requests = keys.map(key => ({ view: live.name, key }))
    const read = await readWhen(reads, request, reply, [served], requests)
    const values = keys.map((key, n) => `{"key":${served.writeKey(key)},"value":${valueJson(served, read.rows[n])}}`)
    const types = headerOf(served)
    if (types !== undefined) reply.header('mainstem-types', types)
    sendJson(reply, `{"values":[${values.join(',')}],${freshnessJson(reads.freshness([live], read))}}`)
    return reply
  })

  server.post('/v1/read', async (request, reply) => {
    const wanted = readsOf(bodyJson(request.body)).map(({ view, key }, n) => {
      request.viewer?.demand(`view:${view}`)
      const served = reads.view(view)
      return { served, view, key: keyAt(served.live, key, n) }
    })
    const views = [...new Set(wanted.map(each => each.served))]
    const read = await readWhen(reads, request, reply, views, wanted)
    const values = wanted.map(
      ({ served, view, key }, n) =>
        `{"view":${JSON.stringify(view)},"key":${served.writeKey(key)},"value":${valueJson(served, read.rows[n])}}`,
    )
    const types = views.filter(served => headerOf(served) !== undefined).map(served => [served.live.name, served.types])
    const header = typesHeader(Object.fromEntries(types))
    if (header !== undefined) reply.header('mainstem-types', header)
    const freshness = reads.freshness(
      views.map(served => served.live),
      read,
    )
    sendJson(reply, `{"values":[${values.join(',')}],${freshnessJson(freshness)}}`)
    return reply
  })
}

export const sendJson = (reply: FastifyReply, body: string): void => {
  reply.header('content-type', JSON_TYPE).send(body)
}

/** What was read, of the present or of the past. */
type PlacedRead = CutRead & { readonly past?: boolean; readonly sources?: SourcePositions }

/** Reads when and where the query says: after the tokens of `after`, at the place that `at` names, or now. */
async function readWhen(
  reads: Reads,
  request: FastifyRequest,
  reply: FastifyReply,
  views: readonly ServedView[],
  requests: readonly RowRequest[],
): Promise<PlacedRead> {
  const { at, sources, age, ...wait } = whenOf(queryOf(request))
  const withSources = async (read: PlacedRead): Promise<PlacedRead> => {
    if (!sources) return read
    const live = views.map(view => view.live)
    return { ...read, sources: await reads.sourcePositions(live, read.position) }
  }
  if (at !== undefined) {
    const read = await whileConnected(reply, signal => reads.readPast(requests, at, request.viewer, { signal }))
    return withSources({ ...read, past: true })
  }
  await waitFirst(reads, views, wait, reply)
  const read = () => reads.read(requests, request.viewer)
  if (age === undefined) return withSources(await read())
  const live = views.map(view => view.live)
  return withSources(await whileConnected(reply, signal => reads.readYoung(read, live, { ...age, signal })))
}

/** Waits for tokens, if there are any, while the client is there. @throws as `Reads.wait` */
export async function waitFirst(
  reads: Reads,
  views: readonly ServedView[],
  { after, timeoutMs }: Waiting,
  reply: FastifyReply,
): Promise<void> {
  if (after.length === 0) return
  const live = views.map(view => view.live)
  await whileConnected(reply, signal => reads.wait({ after, timeoutMs, signal }, live))
}

/**
 * The key's own segment of the URL, as sent. Not Fastify's parameter: that is decoded already, and a comma inside of a
 * part of a composite key (%2C) could not be told from one between two parts.
 */
export function keySegment(url: string): string {
  // Request targets may be absolute: http://host/v1/…
  const base = url.charCodeAt(0) === 47 ? 0 : url.indexOf('/', url.indexOf('//') + 2)
  // '/v1/views/'.length is 10; a view may itself be named rows.
  const start = url.indexOf('/rows/', base + 10) + 6
  const end = url.indexOf('?', start)
  return end < 0 ? url.slice(start) : url.slice(start, end)
}

/** @throws KEY_MALFORMED */
export function parseKey(codec: KeyCodec, text: string): unknown {
  // Clients that encode a whole composite key write its commas as %2C; where no comma is left, they are the separators.
  if (codec.columns.length > 1 && !text.includes(',')) return codec.parse(text.replace(/%2C/gi, ','))
  return codec.parse(text)
}

function keyAt(view: LiveView, json: unknown, index: number): unknown {
  try {
    return view.key.fromJson(json)
  } catch (error) {
    if (!isMainstemError(error)) throw error
    const detail = `key ${index}${error.detail ? `, ${error.detail}` : ''}`
    throw fail(error.code, error.message, {
      detail,
      ...(error.hint ? { hint: error.hint } : {}),
      cause: error,
      data: { index },
    })
  }
}

const valueJson = (served: ServedView, row: AnyRow | undefined): string =>
  row === undefined ? 'null' : served.writeValue(row)

export const freshnessJson = ({ position, ageMs, final, sources }: Freshness): string =>
  `"position":"${position}","ageMs":${ageMs},"final":${final}${sources ? `,"sources":${JSON.stringify(sources)}` : ''}`

/** The answer that has one row. @param value as JSON */
export const rowBody = ({ writeKey }: ServedView, key: unknown, value: string, freshness: Freshness): string =>
  `{"key":${writeKey(key)},"value":${value},${freshnessJson(freshness)}}`

/** What the client has is what there is now: how it is now, the head says. */
function sendUnchanged(reply: FastifyReply, { position, ageMs, final }: Freshness): void {
  reply.header('mainstem-position', position).header('mainstem-final', String(final))
  if (ageMs !== null) reply.header('mainstem-age-ms', String(ageMs))
  reply.code(304).send()
}

function sendRowMissing(
  request: FastifyRequest,
  reply: FastifyReply,
  { live }: ServedView,
  freshness: Freshness,
  past: boolean,
): void {
  const url = request.raw.url ?? ''
  const key = keySegment(url).slice(0, 200)
  const instance = url.split('?', 1)[0] ?? url
  // While a snapshot runs nobody knows whether the row is there.
  const [code, title] =
    past || freshness.final
      ? (['ROW_NOT_FOUND', `view '${live.name}' has no row ${key}`] as const)
      : (['ROW_NOT_YET', `view '${live.name}' has no row ${key} yet`] as const)
  const body = problem(code, title, instance, { ...freshness })
  reply.code(body.status).header('content-type', PROBLEM_JSON)
  if (body.status === 503) reply.header('retry-after', '1')
  reply.send(JSON.stringify(body))
}
