// Commands over HTTP, and what a decider takes.
import type { FastifyInstance } from 'fastify'
import { fail } from '../core/index.ts'
import { type CommandCalls, commandOf, deciderWire, typeOf } from './command-calls.ts'
import { idempotencyKeyOf } from './keyed-appends.ts'
import { bodyJson, checkNames } from './parameters.ts'
import { parseKey, queryOf, sendJson } from './routes-reads.ts'
import { checkOrigin } from './routes-writes.ts'
import type { Viewer } from './security/viewer.ts'

export function addCommandRoutes(server: FastifyInstance, calls: CommandCalls): void {
  server.get<{ Params: { decider: string } }>('/v1/commands/:decider', async (request, reply) => {
    checkNames(queryOf(request), [])
    sendJson(reply, JSON.stringify(deciderWire(calls.decider(request.params.decider))))
    return reply
  })

  server.post<{ Params: { decider: string; id: string } }>('/v1/commands/:decider/:id', async (request, reply) => {
    checkOrigin(request)
    checkNames(queryOf(request), [])
    const { decider } = request.params
    const json = bodyJson(request.body)
    if (request.viewer) checkAllowed(request.viewer, decider, typeOf(json))
    const served = calls.decider(decider)
    const decided = await calls.send({
      decider,
      key: parseKey(served.key, lastSegment(request.raw.url ?? '')),
      ...commandOf(served, json),
      expectedVersion: expectedVersionOf(request.headers['if-match']),
      who: request.viewer?.name ?? 'anybody',
      idempotencyKey: idempotencyKeyOf(request.headers['idempotency-key']),
      body: String(request.body),
    })
    if (!decided.ok) {
      const { refused, version, message } = decided
      throw fail('COMMAND_REFUSED', message, { detail: refused, data: { refused, version } })
    }
    if (served.types !== undefined) reply.header('mainstem-types', served.types)
    reply.header('etag', `"${decided.version}"`)
    sendJson(reply, calls.json(decided, served))
    return reply
  })
}

/** Who may send all commands of a decider may send each; others need the scope of the one. @throws FORBIDDEN */
function checkAllowed(viewer: Viewer, decider: string, type: string | undefined): void {
  if (viewer.allows(`command:${decider}`)) return
  viewer.demand(type === undefined ? `command:${decider}` : `command:${decider}.${type}`)
}

/** As sent: decoded, a comma within a part of the key could not be told from one between two parts. */
function lastSegment(url: string): string {
  const path = url.split('?', 1)[0] ?? ''
  return path.slice(path.lastIndexOf('/') + 1)
}

/** @throws REQUEST_INVALID */
function expectedVersionOf(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const digits = /^\s*(?:"(\d{1,15})"|(\d{1,15}))\s*$/.exec(header)
  if (digits) return Number(digits[1] ?? digits[2])
  throw fail('REQUEST_INVALID', "'if-match' is not valid", {
    detail: `received ${JSON.stringify(header.slice(0, 100))}`,
    hint: 'give the version of the stream, as the ETag of a command\'s answer has it: "3"; "0" where it has no events yet',
  })
}
