// Savepoints over HTTP: begin one, list them, show one, delete one.
import type { FastifyInstance } from 'fastify'
import { type ErrorReport, fail } from '../core/index.ts'
import type { ListedSavepoint, Savepoint, SavepointsStatus } from '../projections/index.ts'
import { bodyJson, checkNames } from './parameters.ts'
import type { Reads } from './reads.ts'
import { queryOf, sendJson } from './routes-reads.ts'
import { checkOrigin } from './routes-writes.ts'

interface SavedViewWire {
  readonly position: string
  readonly rows: number
  readonly hash: string
  readonly fingerprint: string
}

export interface SavepointWire {
  readonly name: string
  readonly position: string
  readonly madeAt: string
  readonly path: string
  readonly bytes: number
  readonly views: Readonly<Record<string, SavedViewWire>>
}

export interface SavepointsWire extends SavepointsStatus {
  /** By name; of one whose file cannot be read, why. */
  readonly savepoints: readonly (SavepointWire | { readonly name: string; readonly error: ErrorReport })[]
}

const wireOf = ({ name, position, madeAt, path, bytes, views }: Savepoint): SavepointWire => ({
  name,
  position: String(position),
  madeAt,
  path,
  bytes,
  views: Object.fromEntries(
    Object.entries(views).map(([view, { position: at, rows, hash, fingerprint }]) => [
      view,
      { position: String(at), rows, hash, fingerprint },
    ]),
  ),
})

const listedWire = (listed: ListedSavepoint): SavepointsWire['savepoints'][number] =>
  'error' in listed ? listed : wireOf(listed)

interface NameParams {
  readonly name: string
}

export function addSavepointRoutes(server: FastifyInstance, { engine }: Reads): void {
  const { savepoints } = engine

  server.get('/v1/savepoints', async (request, reply) => {
    checkNames(queryOf(request), [])
    const answer: SavepointsWire = { savepoints: (await savepoints.list()).map(listedWire), ...savepoints.status() }
    sendJson(reply, JSON.stringify(answer))
    return reply
  })

  server.post('/v1/savepoints', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify(await savepoints.start(nameOf(bodyJson(request.body)))))
    return reply
  })

  server.get<{ Params: NameParams }>('/v1/savepoints/:name', async (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify(wireOf(await savepoints.get(request.params.name))))
    return reply
  })

  server.delete<{ Params: NameParams }>('/v1/savepoints/:name', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    await savepoints.remove(request.params.name)
    sendJson(reply, JSON.stringify({ deleted: request.params.name }))
    return reply
  })
}

/** `{ name }`. @throws REQUEST_INVALID */
function nameOf(body: unknown): string {
  const { name, ...rest } = (typeof body === 'object' && body !== null ? body : {}) as { readonly name?: unknown }
  if (typeof name === 'string' && Object.keys(rest).length === 0) return name
  throw fail('REQUEST_INVALID', 'the body does not name a savepoint', { hint: 'send {"name": "before-migration"}' })
}
