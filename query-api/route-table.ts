// The paths there are, their methods, and the scope that each needs, in one list: OpenAPI, the 405 answers, the guard, and a test that
// compares them with the routes really served all use it. A route that is not here is not served.

/**
 * What a client needs that is asked who it is. `open`: nothing, and it is not asked. `any`: to be known; what it then gets goes by its
 * scopes. Otherwise a scope, with parts of the path in it.
 */
export type RouteScope = 'open' | 'any' | 'metrics' | `${'view' | 'topic' | 'log' | 'admin'}:${string}`

export type RouteMethod = 'GET' | 'POST' | 'DELETE'

export interface RoutePath {
  /** As OpenAPI writes it. */
  readonly path: string
  readonly methods: Readonly<Partial<Record<RouteMethod, RouteScope>>>
}

export const ROUTES: readonly RoutePath[] = [
  { path: '/v1/views', methods: { GET: 'any' } },
  { path: '/v1/views/{view}', methods: { GET: 'view:{view}' } },
  { path: '/v1/views/{view}/rows', methods: { GET: 'view:{view}' } },
  { path: '/v1/views/{view}/rows/{key}', methods: { GET: 'view:{view}' } },
  { path: '/v1/views/{view}/rows/{key}/lineage', methods: { GET: 'view:{view}' } },
  { path: '/v1/views/{view}/lookup', methods: { POST: 'view:{view}' } },
  { path: '/v1/views/{view}/export', methods: { GET: 'view:{view}' } },
  { path: '/v1/views/{view}/subscribe', methods: { GET: 'view:{view}' } },
  { path: '/v1/views/{view}/dead-letters', methods: { GET: 'admin:dead-letters' } },
  { path: '/v1/views/{view}/dead-letters/redrive', methods: { POST: 'admin:dead-letters' } },
  { path: '/v1/views/{view}/replay', methods: { GET: 'admin:replay', POST: 'admin:replay' } },
  { path: '/v1/read', methods: { POST: 'any' } },
  { path: '/v1/sources', methods: { GET: 'metrics' } },
  { path: '/v1/sources/{source}', methods: { GET: 'metrics', DELETE: 'admin:drop' } },
  { path: '/v1/sources/{source}/parked', methods: { GET: 'admin:parked' } },
  { path: '/v1/sources/{source}/parked/retry', methods: { POST: 'admin:parked' } },
  { path: '/v1/sources/{source}/tables/{table}/rows', methods: { GET: 'log:{source}.{table}' } },
  { path: '/v1/sources/{source}/tables/{table}/rows/{key}', methods: { GET: 'log:{source}.{table}' } },
  { path: '/v1/sources/{source}/audit', methods: { GET: 'admin:audit', POST: 'admin:audit', DELETE: 'admin:audit' } },
  { path: '/v1/sources/{source}/snapshot', methods: { POST: 'admin:snapshot' } },
  { path: '/v1/sources/{source}/snapshot/pause', methods: { POST: 'admin:snapshot' } },
  { path: '/v1/sources/{source}/snapshot/resume', methods: { POST: 'admin:snapshot' } },
  { path: '/v1/sources/{source}/snapshot/cancel', methods: { POST: 'admin:snapshot' } },
  { path: '/v1/log', methods: { GET: 'metrics' } },
  { path: '/v1/log/clean', methods: { POST: 'admin:clean' } },
  { path: '/v1/log/{topic}', methods: { GET: 'log:{topic}' } },
  { path: '/v1/topics/{topic}', methods: { POST: 'topic:{topic}' } },
  { path: '/v1/commands/{decider}', methods: { GET: 'any' } },
  { path: '/v1/commands/{decider}/{id}', methods: { POST: 'any' } },
  { path: '/v1/verify', methods: { GET: 'admin:verify', POST: 'admin:verify' } },
  { path: '/v1/savepoints', methods: { GET: 'admin:savepoint', POST: 'admin:savepoint' } },
  { path: '/v1/savepoints/{name}', methods: { GET: 'admin:savepoint', DELETE: 'admin:savepoint' } },
  { path: '/v1/actions', methods: { GET: 'admin:actions' } },
  { path: '/health/live', methods: { GET: 'open' } },
  { path: '/health/ready', methods: { GET: 'open' } },
  { path: '/metrics', methods: { GET: 'metrics' } },
  { path: '/openapi.json', methods: { GET: 'any' } },
]

const PATTERNS = ROUTES.map(({ path, methods }) => ({
  pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]*')}$`),
  allowed: Object.keys(methods).flatMap(method => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
}))

/** The methods that a path takes, [] where there is no such path. */
export const allowedMethods = (path: string): readonly string[] => [
  // A topic may have the name of a call.
  ...new Set(PATTERNS.flatMap(({ pattern, allowed }) => (pattern.test(path) ? allowed : []))),
]
