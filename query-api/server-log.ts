// What a server says of itself while it runs: requests that met an error of ours, and those it did not admit. Fastify's own logger is off: it
// would make one for each request.
import type { FastifyRequest } from 'fastify'
import type { MainstemError } from '../core/index.ts'
import { isInternal, pathOf } from './problem.ts'

/** As pino has them: members first, then the text. */
export interface ServerLog {
  error(members: object, text: string): void
  warn(members: object, text: string): void
  debug(members: object, text: string): void
}

/** Without a logger errors of ours go to standard error. */
export const standardError: ServerLog = {
  error: (members, text) => console.error(`${text}:`, 'err' in members ? members.err : members),
  warn: () => {},
  debug: () => {},
}

/** Whom a problem was not answered to, but to somebody who may not ask, or asks too often. */
const REFUSED: ReadonlySet<number> = new Set([401, 403, 429])

/** Functions of the application that fail: what they threw is not answered. */
const OURS: ReadonlySet<string> = new Set(['POLICY_FAILED', 'COMMAND_FAILED'])

/** Says of a problem what those who operate the application should hear of. Never a header, a query or a body. */
export function logProblem(log: ServerLog, known: MainstemError, error: unknown, request: FastifyRequest): void {
  const call = `${request.method} ${pathOf(request.url)}`
  const members = { requestId: request.id, call, code: known.code, status: known.status }
  if (isInternal(known) || OURS.has(known.code)) log.error({ ...members, err: error }, call)
  else if (REFUSED.has(known.status))
    log.warn({ ...members, who: request.viewer?.name ?? null, address: request.ip }, `${call}: ${known.message}`)
  else log.debug(members, `${call}: ${known.message}`)
}
