// What the parts of the OpenAPI document are made of.

export type Json = Readonly<Record<string, unknown>>

export interface Operation extends Json {
  readonly operationId: string
}
export type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>

export const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
export const json = (schema: Json, description: string, headers?: Json): Json => ({
  description,
  ...(headers ? { headers } : {}),
  content: { 'application/json': { schema } },
})
export const problems = (...statuses: readonly number[]): Json =>
  Object.fromEntries([
    ...statuses.map(status => [String(status), { $ref: `#/components/responses/Problem${status}` }]),
    ['default', { $ref: '#/components/responses/Problem' }],
  ])
export const path = (name: string, description: string): Json => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: { type: 'string', minLength: 1 },
})
/** A key of several fields, where a text stands for it. */
export const KEY_TEXT: Json = { type: 'string', minLength: 1 }
export const whole = (name: string, description: string, bounds: Json): Json => ({
  name,
  in: 'query',
  description,
  schema: { type: 'integer', format: 'int64', ...bounds },
})
/** What reads of rows take. */
export const WHEN = ['after', 'timeoutMs', 'at', 'sources', 'maxAgeMs'].map(name => ({
  $ref: `#/components/parameters/${name}`,
}))
/** The same of what is always of the present. */
export const WHEN_AFTER = ['after', 'timeoutMs', 'sources'].map(name => ({ $ref: `#/components/parameters/${name}` }))
export const AT = { $ref: '#/components/parameters/at' }
export const TYPES_HEADER = { 'mainstem-types': { $ref: '#/components/headers/mainstem-types' } }
export const body = (schema: Json): Json => ({ required: true, content: { 'application/json': { schema } } })

/** `accounts` → `Accounts`, for operation ids: `getAccounts`. */
export const titled = (name: string): string =>
  name.replace(/(?:^|[^A-Za-z0-9]+)([A-Za-z0-9]|$)/g, (_, first: string) => first.toUpperCase())
