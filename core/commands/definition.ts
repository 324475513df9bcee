// A decider as the runtime sees it, checked as it is declared; and the contract of its events.
import { z } from 'zod'
import { type AnyTopic, checkName, defOf, describe, type Input, topic } from '../contract/index.ts'
import { fail } from '../errors.ts'
import type { DeciderSpec } from './decider.ts'

type AnyFunction = (...args: never[]) => unknown
export type Functions = Readonly<Record<string, AnyFunction>>

/** The column of a key that is one scalar. */
const SCALAR_KEY = 'key'

interface DeciderParts {
  readonly evolves?: Functions
  readonly decides?: Functions
}

export class DeciderDefinition {
  readonly name: string
  readonly spec: DeciderSpec
  /** Half a decider is none. */
  readonly kind: 'decider' | 'half a decider'
  /** Of its events: one variant for each, with the key's fields. */
  readonly topic: AnyTopic & Input & { readonly kind: 'topic'; readonly key: string | readonly string[] }
  /** The fields of its events that say whose they are. */
  readonly keyColumns: readonly string[]
  /** By event. */
  readonly evolves: Functions
  /** By command. */
  readonly decides: Functions

  constructor(name: string, spec: DeciderSpec, parts: DeciderParts = {}) {
    checkName('decider', name)
    for (const [what, named] of [
      ['event', spec.events],
      ['command', spec.commands],
      ['refusal', spec.refusals ?? {}],
    ] as const)
      for (const each of Object.keys(named)) checkName(what, each)
    this.name = name
    this.spec = spec
    const key = keyShapeOf(name, spec)
    this.keyColumns = Object.keys(key)
    this.topic = topicOf(name, spec, key)
    this.kind = parts.decides === undefined ? 'half a decider' : 'decider'
    this.evolves = parts.evolves ?? {}
    this.decides = parts.decides ?? {}
  }

  evolve(evolves: Functions): DeciderDefinition {
    checkFunctions(`${this.name}.evolve`, 'event', Object.keys(this.spec.events), evolves)
    return new DeciderDefinition(this.name, this.spec, { evolves })
  }

  decide(decides: Functions): DeciderDefinition {
    checkFunctions(`${this.name}.decide`, 'command', Object.keys(this.spec.commands), decides)
    return new DeciderDefinition(this.name, this.spec, { evolves: this.evolves, decides })
  }
}

/** By its kind, not its class: an application's file may find a `mainstem` of its own. */
export const isDecider = (declared: object): declared is DeciderDefinition =>
  'kind' in declared && declared.kind === 'decider'

function checkFunctions(where: string, what: string, names: readonly string[], functions: Functions): void {
  const unknown = Object.keys(functions).find(name => !names.includes(name))
  if (unknown !== undefined)
    throw fail('DEFINITION_INVALID', `${where} names '${unknown}', which is no ${what}`, {
      detail: `there are ${names.join(', ')}`,
    })
  for (const name of names) {
    if (typeof functions[name] !== 'function')
      throw fail('DEFINITION_INVALID', `${where} lacks the function of the ${what} '${name}'`)
    if (functions[name].constructor.name === 'AsyncFunction') throw fail('HANDLER_ASYNC', `${where}.${name} is async`)
  }
}

/** The key's fields, as columns of the events. */
function keyShapeOf(name: string, { key }: DeciderSpec): Readonly<Record<string, z.ZodType>> {
  const shape = describe(key, 'output', `${name}.key`).kind === 'object' ? defOf(key).shape : { [SCALAR_KEY]: key }
  if (shape !== undefined) return shape
  throw fail('DEFINITION_INVALID', `the key of ${name} is not a plain object`, {
    hint: 'say z.object({ … }), without transforms',
  })
}

function topicOf(
  name: string,
  spec: DeciderSpec,
  key: Readonly<Record<string, z.ZodType>>,
): DeciderDefinition['topic'] {
  const columns = Object.keys(key)
  const taken = ['type', ...columns]
  for (const [what, schemas] of [
    ['event', spec.events],
    ['command', spec.commands],
  ] as const) {
    if (Object.keys(schemas).length === 0) throw fail('DEFINITION_INVALID', `${name} has no ${what}`)
    for (const [each, schema] of Object.entries(schemas)) {
      const field = Object.keys(schema.shape).find(field => (what === 'event' ? taken : ['type']).includes(field))
      if (field === undefined) continue
      throw fail('DEFINITION_INVALID', `the ${what} '${each}' of ${name} has a field '${field}'`, {
        hint:
          field === 'type'
            ? `type is the name of the ${what}`
            : 'the fields of the key are in every event by themselves: take another name',
      })
    }
  }
  const variants = Object.entries(spec.events).map(([type, schema]) => variantOf(type, key, schema))
  const [first, ...rest] = variants
  const value = z.discriminatedUnion('type', [first!, ...rest])
  const isScalar = defOf(spec.key).shape === undefined
  return topic(name, { key: (isScalar ? columns[0]! : columns) as never, value }) as never
}

/** An event with its name and key in front; what its schema checks, and allows beside its fields, stays. */
function variantOf(type: string, key: Readonly<Record<string, z.ZodType>>, schema: z.ZodObject) {
  const whole = z.object({ type: z.literal(type), ...key, ...schema.shape })
  const { catchall, checks } = schema._zod.def
  const open = catchall === undefined ? whole : whole.catchall(catchall)
  return checks === undefined || checks.length === 0 ? open : open.check(...(checks as z.core.$ZodCheck<object>[]))
}
