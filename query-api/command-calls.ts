// Commands as clients send them: JSON in the types of their schemas, and what came of them as JSON, or as values in this process.
import {
  type AnyRow,
  type Commands,
  type Decided,
  describeFields,
  fail,
  fromWire,
  type KeyCodec,
  type ObjectType,
  type OpenDecider,
  wireSchema,
} from '../core/index.ts'
import { compileWriter, type JsonWriter, typesHeader, wireTypes } from './json-writer.ts'
import { formatLogToken } from './token.ts'

/** A decider with what sending it commands over HTTP needs. */
export interface ServedDecider {
  readonly name: string
  readonly key: KeyCodec
  readonly refusals: Readonly<Record<string, string>>
  /** By command: what it takes. */
  readonly commands: ReadonlyMap<string, ObjectType>
  /** By event: what an answer has of it, the name first. Whose it is the caller has said. */
  readonly events: ReadonlyMap<string, ObjectType>
  readonly writers: ReadonlyMap<string, JsonWriter>
  /** What the header `mainstem-types` says: by event. */
  readonly types: string | undefined
  /** Fields that are the key's. */
  readonly keyColumns: readonly string[]
}

/** A decider, as `GET /v1/commands/{decider}` describes it. */
export interface DeciderWire {
  readonly name: string
  readonly key: readonly { readonly name: string; readonly type: string }[]
  /** By name, JSON Schemas. */
  readonly commands: Readonly<Record<string, unknown>>
  readonly events: Readonly<Record<string, unknown>>
  /** By name, for people. */
  readonly refusals: Readonly<Record<string, string>>
}

export type Accepted = Extract<Decided, { ok: true }>

export interface CommandSent {
  readonly decider: string
  readonly key: unknown
  readonly type: string
  readonly command: unknown
  readonly expectedVersion?: number | undefined
  readonly who: string
  readonly idempotencyKey?: string | undefined
  /** As it was sent: with the same key another one is refused. */
  readonly body: string
}

export class CommandCalls {
  readonly #commands: Commands
  readonly #logId: string
  readonly #served = new Map<string, ServedDecider>()

  constructor(commands: Commands, logId: string) {
    this.#commands = commands
    this.#logId = logId
    for (const open of commands.deciders) this.#served.set(open.definition.name, servedOf(open))
  }

  get deciders(): readonly ServedDecider[] {
    return [...this.#served.values()]
  }

  /** @throws DECIDER_UNKNOWN */
  decider(name: string): ServedDecider {
    return this.#served.get(this.#commands.decider(name).definition.name)!
  }

  /** @throws as `Commands.send` */
  send({ who, idempotencyKey, body, ...request }: CommandSent): Promise<Decided> {
    const sentAs =
      idempotencyKey === undefined
        ? undefined
        : { who, key: idempotencyKey, body: `${request.expectedVersion ?? ''} ${request.type} ${body}` }
    return this.#commands.send({ ...request, sentAs })
  }

  tokenOf({ position }: Pick<Accepted, 'position'>): string {
    return formatLogToken(this.#logId, position)
  }

  /** The answer as JSON text. */
  json(accepted: Accepted, { writers }: ServedDecider): string {
    const events = accepted.events.map(event => writers.get(String(event['type']))!(event))
    return `{"events":[${events.join(',')}],"version":${accepted.version},"token":"${this.tokenOf(accepted)}"}`
  }
}

function servedOf({ definition, topic }: OpenDecider): ServedDecider {
  const { name, spec, keyColumns } = definition
  const events = new Map(
    topic.contract.variants.map(({ name: event, type: { kind, fields } }) => [
      String(event),
      { kind, fields: fields.filter(field => !keyColumns.includes(field.name)) } satisfies ObjectType,
    ]),
  )
  const types = [...events].map(([event, type]) => [event, wireTypes(type)] as const)
  return {
    name,
    key: topic.contract.key,
    refusals: spec.refusals ?? {},
    commands: new Map(
      Object.entries(spec.commands).map(([type, schema]) => [type, describeFields(schema, 'input', `${name}.${type}`)]),
    ),
    events,
    writers: new Map([...events].map(([event, type]) => [event, compileWriter(type)])),
    types: typesHeader(Object.fromEntries(types.filter(([, paths]) => Object.keys(paths).length > 0))),
    keyColumns,
  }
}

export const deciderWire = ({ name, key, commands, events, refusals }: ServedDecider): DeciderWire => ({
  name,
  key: key.columns.map(column => ({ name: column.name, type: column.type.kind })),
  commands: Object.fromEntries([...commands].map(([type, fields]) => [type, wireSchema(fields)])),
  events: Object.fromEntries([...events].map(([type, fields]) => [type, wireSchema(fields)])),
  refusals,
})

/** The name that a body gives its command; undefined where it gives none. */
export function typeOf(json: unknown): string | undefined {
  const type = typeof json === 'object' && json !== null && 'type' in json ? json.type : undefined
  return typeof type === 'string' ? type : undefined
}

/** A command out of JSON. @throws COMMAND_INVALID */
export function commandOf({ name, commands }: ServedDecider, json: unknown): { type: string; command: unknown } {
  const type = typeOf(json)
  if (type === undefined || typeof json !== 'object' || json === null)
    throw fail('COMMAND_INVALID', `a command of ${name} is an object with its name as type`, {
      detail: `commands are ${[...commands.keys()].join(', ')}`,
      hint: `send {"type":${JSON.stringify([...commands.keys()][0])}, …}`,
    })
  const { type: _, ...fields } = json as AnyRow
  const known = commands.get(type)
  return { type, command: known ? fromWire(known, fields) : fields }
}

/** Events as they are answered in this process: without the fields of the key, which the caller has given. */
export const answeredEvents = (events: readonly AnyRow[], { keyColumns }: ServedDecider): readonly AnyRow[] =>
  events.map(event => Object.fromEntries(Object.entries(event).filter(([name]) => !keyColumns.includes(name))))
