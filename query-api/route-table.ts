// The paths there are and their methods, in one list: OpenAPI, the 405 answers and a test that compares them with the
// routes really served all use it.

export interface RoutePath {
  /** As OpenAPI writes it. */
  readonly path: string
  readonly methods: readonly ('GET' | 'POST' | 'DELETE')[]
}

export const ROUTES: readonly RoutePath[] = [
  { path: '/v1/views', methods: ['GET'] },
  { path: '/v1/views/{view}', methods: ['GET'] },
  { path: '/v1/views/{view}/rows/{key}', methods: ['GET'] },
  { path: '/v1/views/{view}/rows/{key}/lineage', methods: ['GET'] },
  { path: '/v1/views/{view}/lookup', methods: ['POST'] },
  { path: '/v1/views/{view}/export', methods: ['GET'] },
  { path: '/v1/views/{view}/dead-letters', methods: ['GET'] },
  { path: '/v1/views/{view}/dead-letters/redrive', methods: ['POST'] },
  { path: '/v1/views/{view}/replay', methods: ['GET', 'POST'] },
  { path: '/v1/read', methods: ['POST'] },
  { path: '/v1/sources', methods: ['GET'] },
  { path: '/v1/sources/{source}', methods: ['GET', 'DELETE'] },
  { path: '/v1/sources/{source}/parked', methods: ['GET'] },
  { path: '/v1/sources/{source}/parked/retry', methods: ['POST'] },
  { path: '/v1/sources/{source}/tables/{table}/rows', methods: ['GET'] },
  { path: '/v1/sources/{source}/tables/{table}/rows/{key}', methods: ['GET'] },
  { path: '/v1/sources/{source}/audit', methods: ['GET', 'POST', 'DELETE'] },
  { path: '/v1/sources/{source}/snapshot', methods: ['POST'] },
  { path: '/v1/sources/{source}/snapshot/pause', methods: ['POST'] },
  { path: '/v1/sources/{source}/snapshot/resume', methods: ['POST'] },
  { path: '/v1/sources/{source}/snapshot/cancel', methods: ['POST'] },
  { path: '/v1/log', methods: ['GET'] },
  { path: '/v1/log/clean', methods: ['POST'] },
  { path: '/v1/log/{topic}', methods: ['GET'] },
  { path: '/v1/topics/{topic}', methods: ['POST'] },
  { path: '/v1/verify', methods: ['GET', 'POST'] },
  { path: '/v1/savepoints', methods: ['GET', 'POST'] },
  { path: '/v1/savepoints/{name}', methods: ['GET', 'DELETE'] },
  { path: '/health/live', methods: ['GET'] },
  { path: '/health/ready', methods: ['GET'] },
  { path: '/metrics', methods: ['GET'] },
  { path: '/openapi.json', methods: ['GET'] },
]

const PATTERNS = ROUTES.map(({ path, methods }) => ({
  pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]*')}$`),
  allowed: methods.flatMap(method => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
}))

/** The methods that a path takes, [] where there is no such path. */
export const allowedMethods = (path: string): readonly string[] => [
  // A topic may have the name of a call.
  ...new Set(PATTERNS.flatMap(({ pattern, allowed }) => (pattern.test(path) ? allowed : []))),
]
