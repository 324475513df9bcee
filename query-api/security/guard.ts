// What each request passes before its route: who asks, may it, and not too often. Hooks are added to the routes that need them, as they are
// registered: where nobody is asked and nothing is limited, requests pass nothing.
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { fail } from '../../core/index.ts'
import { ROUTES, type RouteMethod, type RouteScope } from '../route-table.ts'
import type { Access } from './access.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Viewer } from './viewer.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; undefined where nobody is asked: whoever it is may do all. */
    viewer: Viewer | undefined
  }
  interface FastifyInstance {
    /** Origins of other pages that may write here. */
    readonly corsOrigins: ReadonlySet<string>
  }
}

export interface GuardParts {
  /** Undefined: nobody is asked. */
  readonly access: Access | undefined
  readonly rateLimit: RateLimit | undefined
}

const SCOPES = new Map(
  ROUTES.map(({ path, methods }) => [
    path.replace(/\{(\w+)\}/g, ':$1'),
    methods as Readonly<Record<string, RouteScope>>,
  ]),
)

/** What a route of Fastify needs; HEAD is a GET. */
export function scopeOf(method: string, url: string): RouteScope {
  const scope = SCOPES.get(url)?.[(method === 'HEAD' ? 'GET' : method) as RouteMethod]
  if (scope !== undefined) return scope
  throw fail('INTERNAL', `${method} ${url} is no route of the table`)
}

/** To be called before routes are added. */
export function addGuard(server: FastifyInstance, { access, rateLimit }: GuardParts): void {
  server.decorateRequest('viewer', undefined)
  if (!access && !rateLimit) return
  server.addHook('onRoute', route => {
    // What @fastify/cors answers to, before any call.
    if (route.method === 'OPTIONS') return
    const scopes = [route.method].flat().map(method => scopeOf(method, route.url))
    if (scopes[0] === 'open') return
    addHook(route, access ? asking(access, rateLimit, scopes[0]!) : limiting(rateLimit!))
  })
}

type Hook = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void

function addHook(route: RouteOptions, hook: Hook): void {
  route.onRequest = [...[route.onRequest ?? []].flat(), hook] as NonNullable<RouteOptions['onRequest']>
}

/** All of a machine that does not say who it is are one client. */
const limiting =
  (rateLimit: RateLimit): Hook =>
  (request, _, done) =>
    attempt(done, () => rateLimit.take(request.ip))

function asking(access: Access, rateLimit: RateLimit | undefined, scope: RouteScope): Hook {
  const needed = demandOf(scope)
  return (request, _, done) => {
    const admit = (viewer: Viewer) =>
      attempt(done, () => {
        rateLimit?.take(viewer.name)
        needed(viewer, request)
        request.viewer = viewer
      })
    const refuse = (error: Error) => {
      attempt(done, () => {
        rateLimit?.take(request.ip)
        throw error
      })
    }
    let viewer: Viewer | Promise<Viewer>
    try {
      viewer = access.viewer(request.headers.authorization)
    } catch (error) {
      refuse(error as Error)
      return
    }
    if (viewer instanceof Promise) viewer.then(admit, refuse)
    else admit(viewer)
  }
}

function attempt(done: (error?: Error) => void, work: () => void): void {
  try {
    work()
  } catch (error) {
    done(error as Error)
    return
  }
  done()
}

/** @returns what throws FORBIDDEN where the scope lacks, its `{name}`s taken from the path */
function demandOf(scope: RouteScope): (viewer: Viewer, request: FastifyRequest) => void {
  if (scope === 'any' || scope === 'open') return () => {}
  if (!scope.includes('{')) return viewer => viewer.demand(scope)
  const parts = scope.split(/\{(\w+)\}/)
  return (viewer, { params }) => {
    const values = params as Readonly<Record<string, string>>
    viewer.demand(parts.map((part, n) => (n % 2 === 1 ? values[part] : part)).join(''))
  }
}
