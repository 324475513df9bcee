// Snapshots of sources over HTTP: begin one beside the stream, pause it, let it go on, give it up.
import type { FastifyInstance } from 'fastify'
import { fail, type SnapshotCommand } from '../core/index.ts'
import { bodyJson, checkNames } from './parameters.ts'
import type { Reads } from './reads.ts'
import { queryOf, sendJson } from './routes-reads.ts'
import { checkOrigin, sourceOf } from './routes-writes.ts'

interface SourceParams {
  readonly source: string
}

export function addSnapshotRoutes(server: FastifyInstance, { sources }: Reads): void {
  const add = (path: string, commandOf: (body: unknown) => SnapshotCommand) =>
    server.post<{ Params: SourceParams }>(`/v1/sources/:source/snapshot${path}`, async (request, reply) => {
      checkOrigin(request)
      checkNames(queryOf(request), [])
      const source = sourceOf(sources, request.params.source)
      const snapshot = await source.snapshot(commandOf(request.body))
      sendJson(reply, JSON.stringify({ source: source.name, snapshot }))
      return reply
    })
  add('', body => startOf(body === undefined || body === null ? {} : bodyJson(body)))
  for (const what of ['pause', 'resume', 'cancel'] as const) add(`/${what}`, () => ({ do: what }))
}

/** `{ tables?, where? }`. @throws REQUEST_INVALID */
function startOf(body: unknown): SnapshotCommand {
  const { tables, where, ...rest } = (
    typeof body === 'object' && body !== null && !Array.isArray(body) ? body : { body }
  ) as {
    readonly tables?: unknown
    readonly where?: unknown
  }
  const areNames = tables === undefined || (Array.isArray(tables) && tables.every(each => typeof each === 'string'))
  if (areNames && (where === undefined || typeof where === 'string') && Object.keys(rest).length === 0) {
    return { do: 'start', ...(tables === undefined ? {} : { tables }), ...(where === undefined ? {} : { where }) }
  }
  throw fail('REQUEST_INVALID', 'the body does not say what to read', {
    hint: 'send {"tables": ["orders"], "where": "id > 1000"}, or {} for all tables',
  })
}
