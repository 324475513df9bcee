// Subscriptions in the OpenAPI document.
import type { LiveView } from '../projections/index.ts'
import { KEYS_MAX } from './limits.ts'
import {
  type Json,
  KEY_TEXT,
  type Operation,
  type Paths,
  path,
  problems,
  TYPES_HEADER,
  titled,
  WHEN_AFTER,
} from './openapi-parts.ts'
import { anyPrefix, equalParameters, prefixParameters } from './openapi-rows.ts'

const EVENTS = `Server-sent events, until the client leaves: of rows of some keys, of a prefix of keys, or with some values of fields that a declared index serves. \`row\` {key, value, position} and \`gone\` {key, position}: first the rows there are, then each change of them, in the order of the log. A row that comes to be one of those that were asked for is a \`row\`, one that is so no more is \`gone\`. \`progress\` {position, ageMs, final}: all up to there has come; after the rows there are, and about once a second while nothing else comes. The id of an event, sent as \`Last-Event-ID\`, goes on after it. \`reset\` {position}: what was missed is kept no more, and the rows there are follow anew. \`overflow\`, a problem: the client takes changes more slowly than they come; the last event. \`end\`, a problem: why the server ends it; the last event.`

export function anySubscribePath(): Paths {
  const keys = KEY_TEXT
  const parameters = [path('view', 'Name of the view'), anyPrefix]
  return { '/v1/views/{view}/subscribe': { get: subscribe('AnyView', 'any view', parameters, keys) } }
}

export const subscribePathOf = (view: LiveView, key: Json): Paths => ({
  [`/v1/views/${view.name}/subscribe`]: {
    get: subscribe(
      titled(view.name),
      view.name,
      [...prefixParameters(view), ...equalParameters(view)],
      view.key.single ? key : KEY_TEXT,
    ),
  },
})

function subscribe(id: string, view: string, parameters: readonly Json[], key: Json): Operation {
  return {
    operationId: `subscribe${id}`,
    summary: `Rows of ${view} and each change of them, as it comes`,
    tags: ['views'],
    parameters: [
      ...parameters,
      {
        name: 'keys',
        in: 'query',
        description:
          'Keys of rows, several times; the parts of a composite key in order, comma-separated. Without `prefix` and `where`',
        schema: { type: 'array', items: key, minItems: 1, maxItems: KEYS_MAX },
        style: 'form',
        explode: true,
      },
      ...WHEN_AFTER,
      {
        name: 'lastEventId',
        in: 'query',
        description: 'Id of the last event that came, where the header `Last-Event-ID` cannot be sent',
        schema: { type: 'string', minLength: 1 },
      },
      {
        name: 'Last-Event-ID',
        in: 'header',
        description: 'Id of the last event that came: what came after it follows. EventSource sends it by itself',
        schema: { type: 'string' },
      },
    ],
    responses: {
      200: {
        description: EVENTS,
        headers: TYPES_HEADER,
        content: { 'text/event-stream': { schema: { type: 'string' } } },
      },
      ...problems(400, 404, 503, 504),
    },
  }
}
