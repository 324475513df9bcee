// Captured tables in the OpenAPI document.
import { LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { json, type Paths, path, problems, ref, whole } from './openapi-parts.ts'

export function tablePaths(): Paths {
  const table = [path('source', 'Name of the source'), path('table', 'Name of the table, as in the database')]
  const tags = ['sources']
  return {
    '/v1/sources/{source}/tables/{table}/rows/{key}': {
      get: {
        operationId: 'getTableRow',
        summary: 'A row of a captured table, as the log has it now',
        tags,
        parameters: [...table, path('key', 'The key: columns in order, comma-separated, each percent-encoded')],
        responses: { 200: json(ref('AnyRow'), 'The row'), ...problems(400, 404, 503) },
      },
    },
    '/v1/sources/{source}/tables/{table}/rows': {
      get: {
        operationId: 'listTableRows',
        summary: 'Rows of a captured table, as the log has them now, in the order of their keys',
        tags,
        parameters: [
          ...table,
          {
            name: 'after',
            in: 'query',
            description: 'The key behind which the page begins: `next` of the page before',
            schema: { type: 'string' },
          },
          whole('limit', 'Most rows to give', { minimum: 1, maximum: LOG_PAGE_MAX, default: LOG_PAGE_DEFAULT }),
        ],
        responses: { 200: json(ref('TableRows'), 'A page'), ...problems(400, 404, 503) },
      },
    },
  }
}
