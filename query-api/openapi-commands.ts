// Commands in the OpenAPI document: one path for each decider, with the schemas of its commands and of the events they come to.
import { wireSchema } from '../core/index.ts'
import type { CommandCalls, ServedDecider } from './command-calls.ts'
import { body, type Json, json, type Paths, path, problems, ref, TYPES_HEADER, titled } from './openapi-parts.ts'
import { array, count, object, text } from './schema-parts.ts'

const HEADERS = ['idempotency-key', 'if-match'].map(name => ({ $ref: `#/components/parameters/${name}` }))

export const COMMAND_SCHEMAS = {
  Decider: object({
    name: text,
    key: array(object({ name: text, type: text })),
    commands: { type: 'object', description: 'JSON Schemas by name', additionalProperties: { type: 'object' } },
    events: { type: 'object', description: 'JSON Schemas by name', additionalProperties: { type: 'object' } },
    refusals: {
      type: 'object',
      description: 'By name, a text for people',
      additionalProperties: { type: 'string' },
    },
  }),
}

export function commandPaths(calls: CommandCalls): Paths {
  const decider = path('decider', 'Name of the decider')
  const anyEvent = { type: 'object', properties: { type: text }, required: ['type'] }
  const described = calls.deciders
  return {
    ...Object.assign({}, ...described.map(commandPathOf)),
    '/v1/commands/{decider}': {
      get: {
        operationId: 'getDecider',
        summary: 'What a decider takes: its key, its commands, their events and refusals',
        tags: ['commands'],
        parameters: [decider],
        responses: { 200: json(ref('Decider'), 'The decider'), ...problems(400, 404) },
      },
    },
    '/v1/commands/{decider}/{id}': commandOperation(
      'sendCommand',
      'Send a command to any decider',
      { type: 'object', properties: { type: text }, required: ['type'] },
      anyEvent,
      [decider, path('id', "The stream's key: columns in order, comma-separated, each percent-encoded")],
    ),
  }
}

function commandOperation(
  operationId: string,
  summary: string,
  command: Json,
  event: Json,
  parameters: readonly Json[],
): Paths[string] {
  const answer = object({
    events: { ...array(event), description: 'What happened, without the fields of the key; none where nothing did' },
    version: { ...count, description: 'Of the stream, after them: how many events it has had' },
    token: { ...text, description: 'A read with it as `after` sees them, in any view' },
  })
  return {
    post: {
      operationId,
      summary,
      tags: ['commands'],
      parameters: [...parameters, ...HEADERS],
      requestBody: body(command),
      responses: {
        200: json(answer, 'What it came to is durable', {
          ...TYPES_HEADER,
          etag: { description: "The stream's version, for `If-Match`", schema: text },
        }),
        ...problems(400, 403, 404, 409, 413, 422, 500, 503, 507),
      },
    },
  }
}

const commandComponent = (decider: string, command: string): string => `${decider}.command.${command}`
const eventComponent = (decider: string, event: string): string => `${decider}.event.${event}`

const oneOf = (names: readonly string[], componentOf: (name: string) => string): Json => {
  const refs = names.map(name => [name, ref(componentOf(name))] as const)
  const mapping = Object.fromEntries(refs.map(([name, { $ref }]) => [name, $ref]))
  return { oneOf: refs.map(([, each]) => each), discriminator: { propertyName: 'type', mapping } }
}

function commandPathOf({ name, key, commands, events, refusals }: ServedDecider): Paths {
  const columns = key.columns.map(column => `${column.name} (${column.type.kind})`).join(', ')
  const reasons = Object.entries(refusals).map(([reason, why]) => `${reason} (${why})`)
  const refused = reasons.length === 0 ? '' : `; 422 COMMAND_REFUSED says as \`refused\` why not: ${reasons.join(', ')}`
  return {
    [`/v1/commands/${name}/{id}`]: commandOperation(
      `send${titled(name)}`,
      `Send a command to a stream of ${name}${refused}`,
      oneOf([...commands.keys()], each => commandComponent(name, each)),
      oneOf([...events.keys()], each => eventComponent(name, each)),
      [path('id', `In this order, comma-separated, each percent-encoded: ${columns}`)],
    ),
  }
}

/** A component for each command and each event. */
export const commandSchemas = (calls: CommandCalls): Readonly<Record<string, Json>> =>
  Object.fromEntries(
    calls.deciders.flatMap(({ name, commands, events }) => [
      ...[...commands].map(([type, fields]) => {
        const { kind } = fields
        const whole = wireSchema({
          kind,
          fields: [{ name: 'type', type: { kind: 'enum', values: [type] } }, ...fields.fields],
        })
        return [commandComponent(name, type), whole] as const
      }),
      ...[...events].map(([type, fields]) => [eventComponent(name, type), wireSchema(fields)] as const),
    ]),
  )
