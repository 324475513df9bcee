// Audits in the OpenAPI document.
import { body, json, type Paths, path, problems, ref } from './openapi-parts.ts'

export function auditPaths(): Paths {
  const common = { tags: ['sources'], parameters: [path('source', 'Name of the source')] }
  return {
    '/v1/sources/{source}/audit': {
      get: {
        ...common,
        operationId: 'getAudit',
        summary: 'The audit that runs, or the last one',
        responses: { 200: json(ref('Audit'), 'How far it is, or what came of it'), ...problems(400, 404) },
      },
      post: {
        ...common,
        operationId: 'startAudit',
        summary:
          'Compare tables with what the log has of them, at one position of the source, while all goes on; GET tells how it goes',
        requestBody: body(ref('AuditRequest')),
        responses: { 200: json(ref('Audit'), 'It runs'), ...problems(400, 403, 404, 409, 413, 503) },
      },
      delete: {
        ...common,
        operationId: 'cancelAudit',
        summary: 'End the audit that runs',
        responses: { 200: json(ref('AuditCancelled'), 'Whether one ran'), ...problems(400, 403, 404) },
      },
    },
  }
}
