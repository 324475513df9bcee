// What schemas of the OpenAPI document are made of.

import type { Json } from './openapi-parts.ts'

export interface ObjectSchema extends Json {
  readonly type: 'object'
  readonly properties: Readonly<Record<string, Json>>
  readonly required: readonly string[]
}

export const object = (properties: Readonly<Record<string, Json>>, optional: readonly string[] = []): ObjectSchema => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter(name => !optional.includes(name)),
})
export const array = (items: Json): Json => ({ type: 'array', items })
export const nullable = (schema: Json): Json => ({ anyOf: [schema, { type: 'null' }] })

export const text: Json = { type: 'string' }
export const count: Json = { type: 'integer', minimum: 0 }
export const flag: Json = { type: 'boolean' }
export const position: Json = { type: 'string', description: 'A place in the log; opaque' }
export const lenient: Json = { type: 'object', additionalProperties: true }

export const freshness = {
  position,
  ageMs: {
    type: ['integer', 'null'],
    description:
      'Milliseconds for which changes may have happened that are not in the answer; null while not known, and of the past',
  },
  final: { type: 'boolean', description: "False while a source's snapshot is not complete: rows may be missing" },
}

export const error = nullable(object({ code: text, message: text, detail: text, hint: text }, ['detail', 'hint']))
