// Dead letters in the OpenAPI document.
import { LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { body, json, type Paths, path, problems, ref, whole } from './openapi-parts.ts'

export function deadLetterPaths(): Paths {
  const view = path('view', 'Name of the view')
  return {
    '/v1/views/{view}/dead-letters': {
      get: {
        operationId: 'listDeadLetters',
        summary: "Calls that a view with onError: 'skip' has skipped, in the order of the log",
        tags: ['views'],
        parameters: [
          view,
          whole('from', 'First position; go on with `next` of the answer', {
            minimum: 0,
            maximum: Number.MAX_SAFE_INTEGER,
            default: 0,
          }),
          whole('limit', 'Most of them to give, but all of one record', {
            minimum: 1,
            maximum: LOG_PAGE_MAX,
            default: LOG_PAGE_DEFAULT,
          }),
        ],
        responses: { 200: json(ref('DeadLetters'), 'A page'), ...problems(400, 404, 503) },
      },
    },
    '/v1/views/{view}/dead-letters/redrive': {
      post: {
        operationId: 'redriveDeadLetters',
        summary: 'Call again what was skipped, where the log now stands: what succeeds is a dead letter no more',
        tags: ['views'],
        parameters: [view],
        requestBody: body(ref('RedriveRequest')),
        responses: {
          200: json(ref('Redriven'), 'It stands in the log; a read with the token sees what came of it'),
          ...problems(400, 403, 404, 413, 503, 507),
        },
      },
    },
  }
}
