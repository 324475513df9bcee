// Writes down what operators do, and lists it.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ActionLog, aboutOf } from './actions.ts'
import { LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { checkNames, integer } from './parameters.ts'
import { pathOf } from './problem.ts'
import { queryOf, sendJson } from './routes-reads.ts'
import { scopeOf } from './security/guard.ts'

/** To be called before routes are added. @param report of an action that was done and could not be written down */
export function recordActions(
  server: FastifyInstance,
  actions: ActionLog,
  report: (error: unknown, request: string) => void,
): void {
  server.addHook('onRoute', route => {
    if (route.method === 'OPTIONS' || route.method === 'GET' || route.method === 'HEAD') return
    const [kind, verb = ''] = scopeOf([route.method].flat()[0] ?? '', route.url).split(':')
    if (kind !== 'admin') return
    route.onSend = async (request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
      if (!NOT_ADMITTED.has(reply.statusCode)) {
        const call = `${request.method} ${pathOf(request.url)}`
        const action = {
          who: request.viewer?.name ?? 'anybody',
          address: request.ip,
          action: verb,
          call,
          about: aboutOf(request.body),
          status: reply.statusCode,
          code: reply.statusCode >= 400 ? codeOf(payload) : null,
        }
        await actions.append(action).catch((error: unknown) => report(error, `writing down ${call}`))
      }
      return payload
    }
  })
}

/** Of somebody unknown, without the scope or of another page, too often: nothing was done. */
const NOT_ADMITTED: ReadonlySet<number> = new Set([401, 403, 429])

function codeOf(payload: unknown): string | null {
  const { code } = typeof payload === 'string' ? (JSON.parse(payload) as { readonly code?: unknown }) : {}
  return typeof code === 'string' ? code : null
}

export function addActionRoutes(server: FastifyInstance, actions: ActionLog): void {
  server.get('/v1/actions', async (request, reply) => {
    const query = queryOf(request)
    checkNames(query, ['before', 'limit'])
    const all = Number.MAX_SAFE_INTEGER
    const before = integer(query, 'before', { min: 1, max: all, fallback: all })
    const limit = integer(query, 'limit', { min: 1, max: LOG_PAGE_MAX, fallback: LOG_PAGE_DEFAULT })
    sendJson(reply, JSON.stringify(await actions.page(before, limit)))
    return reply
  })
}
