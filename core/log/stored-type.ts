// What topics.json may say a value's type is. A kind that this version does not know is refused: read by guess, its records
// would be wrong ones.
import { z } from 'zod'
import type { Field, ValueType } from '../contract/index.ts'
import type { StoredLayout } from './layout.ts'

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
  readonly layouts: readonly StoredLayout[]
}

const unique = (values: readonly unknown[]) => new Set(values).size === values.length

/** What is wrong with topics as a whole, where each may be right by itself. */
export function topicsFault(topics: readonly Stored[]): string | undefined {
  if (!unique(topics.map(({ id }) => id))) return 'two topics have one id'
  if (!unique(topics.map(({ name }) => name))) return 'two topics have one name'
  if (!unique(topics.flatMap(({ layouts }) => layouts.map(({ id }) => id)))) return 'two layouts have one id'
  for (const topic of topics) {
    const fault = topicFault(topic)
    if (fault !== undefined) return `${topic.name} ${fault}`
  }
  return undefined
}

function topicFault({ key, layouts }: Stored): string | undefined {
  const lacking = key.find(column => layouts.some(({ fields }) => !fields.some(field => field.name === column)))
  if (lacking !== undefined) return `lacks its key column ${lacking}`
  for (const [n, layout] of layouts.entries()) {
    const before = layouts[n - 1]
    const step = before ? (layout.version ?? 1) - (before.version ?? 1) : 0
    if (step !== 0 && step !== 1) return `has versions that do not follow each other`
    if (!before || step === 1) continue
    if (layout.upcast !== undefined) return 'has an upcast within a version'
    if (layout.variant?.by !== before.variant?.by) return 'has two kinds of variants in one version'
  }
  return layouts.map(variantFault).find(fault => fault !== undefined)
}

function variantFault({ variant, fields, upcast }: StoredLayout): string | undefined {
  if (!variant) return undefined
  if (upcast !== undefined && upcast !== 'record') return `has an upcast by column to its variant ${variant.name}`
  const type = fields.find(({ name }) => name === variant.by)?.type
  const own = type?.kind === 'enum' && type.values.length === 1 && type.values[0] === variant.name
  return own ? undefined : `has a variant ${variant.name} whose records do not say so`
}
