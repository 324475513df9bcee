// What topics.json may say a value's type is. A kind that this version does not know is refused: read by guess, its records
// would be wrong ones.
import { z } from 'zod'
import type { Field, ValueType } from '../contract/index.ts'

const typeSchema: z.ZodType<ValueType> = z.lazy(() =>
  z.discriminatedUnion('kind', [
    z.object({ kind: z.enum(['int32', 'int', 'float', 'bigint', 'boolean', 'date', 'bytes', 'json', 'string']) }),
    z.object({ kind: z.literal('enum'), values: z.array(z.string()) }),
    z.object({ kind: z.literal('nullable'), inner: typeSchema, optional: z.boolean() }),
    z.object({ kind: z.literal('array'), element: typeSchema }),
    z.object({ kind: z.literal('object'), fields: storedFieldsSchema }),
    z.object({ kind: z.literal('record'), keys: z.array(z.string()).exactOptional(), value: typeSchema }),
    z.object({ kind: z.literal('map'), key: typeSchema, value: typeSchema }),
  ]),
) as unknown as z.ZodType<ValueType>

const named = (fields: readonly Field[]) => new Set(fields.map(({ name }) => name)).size === fields.length

export const storedFieldsSchema: z.ZodType<readonly Field[]> = z
  .array(z.object({ name: z.string(), type: typeSchema }))
  .refine(named, 'two fields have one name')

interface Stored {
  readonly id: number
  readonly name: string
  readonly key: readonly string[]
  readonly layouts: readonly { readonly id: number; readonly fields: readonly Field[] }[]
}

const unique = (values: readonly unknown[]) => new Set(values).size === values.length

/** What is wrong with topics as a whole, where each may be right by itself. */
export function topicsFault(topics: readonly Stored[]): string | undefined {
  if (!unique(topics.map(({ id }) => id))) return 'two topics have one id'
  if (!unique(topics.map(({ name }) => name))) return 'two topics have one name'
  if (!unique(topics.flatMap(({ layouts }) => layouts.map(({ id }) => id)))) return 'two layouts have one id'
  for (const { name, key, layouts } of topics) {
    const lacking = key.find(column => layouts.some(({ fields }) => !fields.some(field => field.name === column)))
    if (lacking !== undefined) return `${name} lacks its key column ${lacking}`
  }
  return undefined
}
