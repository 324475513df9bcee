// Snapshots of sources in the OpenAPI document.
import { body, json, type Operation, type Paths, path, problems, ref } from './openapi-parts.ts'

export function snapshotPaths(): Paths {
  const source = path('source', 'Name of the source')
  const operation = (operationId: string, summary: string): Operation => ({
    operationId,
    summary,
    tags: ['sources'],
    parameters: [source],
    responses: { 200: json(ref('SnapshotAnswer'), 'How it stands'), ...problems(400, 403, 404, 409, 413, 503) },
  })
  return {
    '/v1/sources/{source}/snapshot': {
      post: {
        ...operation(
          'startSnapshot',
          'Read tables once more while changes are streamed: only differences become records. Of a source that has failed, of all tables, it is the repair',
        ),
        requestBody: body(ref('SnapshotRequest')),
      },
    },
    '/v1/sources/{source}/snapshot/pause': {
      post: operation('pauseSnapshot', 'Read no further, until it is resumed; the stream goes on'),
    },
    '/v1/sources/{source}/snapshot/resume': { post: operation('resumeSnapshot', 'Go on where it was paused') },
    '/v1/sources/{source}/snapshot/cancel': {
      post: operation('cancelSnapshot', 'Give it up; what was read stays. Refused where views would lack rows'),
    },
  }
}
