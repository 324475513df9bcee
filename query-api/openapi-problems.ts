// Problems in the OpenAPI document: their form, and what each status means.
import { ERRORS } from '../core/index.ts'

type Json = Readonly<Record<string, unknown>>

export const problemSchema = (): Json => ({
  type: 'object',
  description: 'RFC 9457. `code` is stable; `title`, `detail` and `hint` are for people.',
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', enum: Object.keys(ERRORS) },
    hint: { type: 'string' },
    retriable: { type: 'boolean', description: 'Whether the same call may succeed later without a change' },
    instance: { type: 'string' },
  },
  required: ['type', 'title', 'status', 'code', 'retriable'],
})

const PROBLEM_STATUSES: Readonly<Record<number, string>> = {
  400: 'The request is not valid',
  401: 'The API key or token is missing, not known, or has expired',
  403: 'A page of another origin, or a client without the scope that `scope` names',
  404: 'There is no such thing; a missing row says at which position',
  405: 'The topic takes no appends',
  409: 'There is such a thing already; or a stream has another version than a command expects, which `version` says',
  410: 'The past that is asked for is gone: history was removed, or other code made it; `horizon` says from where on it can be had, where that is known',
  413: 'The body is too large',
  431: 'The head is too large',
  422: 'The idempotency key was used for something else; or the command is refused, and `refused` says why',
  429: 'The client asks too often; Retry-After says when to come again',
  500: 'What is asked for is damaged, or cannot be used; or code of the application failed',
  503: 'Not now: the view has stopped, is being rebuilt or is too old, a snapshot is not complete, or the application is not ready, or is shutting down',
  504: 'The views have not reached what `after` names; `waitingFor` says what they wait for',
  507: 'The log is at its limit, or its disk is full',
}

export function problemResponses(): Json {
  const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
  return {
    Problem: { description: 'A problem', content },
    ...Object.fromEntries(
      Object.entries(PROBLEM_STATUSES).map(([status, description]) => [`Problem${status}`, { description, content }]),
    ),
  }
}
