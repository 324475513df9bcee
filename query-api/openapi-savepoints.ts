// Savepoints in the OpenAPI document.
import { body, json, type Paths, path, problems, ref } from './openapi-parts.ts'

export function savepointPaths(): Paths {
  const name = path('name', 'Name of the savepoint')
  const tags = ['operations']
  return {
    '/v1/savepoints': {
      get: {
        operationId: 'listSavepoints',
        summary: 'The savepoints there are, and the one that is being made',
        tags,
        responses: { 200: json(ref('Savepoints'), 'The savepoints'), ...problems(400, 503) },
      },
      post: {
        operationId: 'createSavepoint',
        summary: 'Write all rows of all views, as of now, into a file that stands alone; GET tells how it goes',
        tags,
        requestBody: body(ref('SavepointRequest')),
        responses: { 200: json(ref('SavepointStatus'), 'It is being made'), ...problems(400, 403, 409, 413, 503) },
      },
    },
    '/v1/savepoints/{name}': {
      get: {
        operationId: 'getSavepoint',
        summary: 'A savepoint: its place in the log, and what it has of each view',
        tags,
        parameters: [name],
        responses: { 200: json(ref('Savepoint'), 'The savepoint'), ...problems(400, 404, 500) },
      },
      delete: {
        operationId: 'deleteSavepoint',
        summary: 'Delete a savepoint',
        tags,
        parameters: [name],
        responses: { 200: json(ref('SavepointDeleted'), 'It is gone'), ...problems(400, 403, 404) },
      },
    },
  }
}
