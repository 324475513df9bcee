// A zod schema from a stored type, for topics whose contract the running application does not have (an older version's, or
// another tool's look into the log): describing the schema again gives the same type.
import { z } from 'zod'
import type { ValueType } from '../contract/index.ts'

export function schemaOfType(type: ValueType): z.ZodType {
  switch (type.kind) {
    case 'int32':
      return z.int32()
    case 'int':
      return z.int()
    case 'float':
      return z.number()
    case 'bigint':
      return z.bigint()
    case 'boolean':
      return z.boolean()
    case 'date':
      return z.date()
    case 'bytes':
      return z.instanceof(Uint8Array)
    case 'json':
      return z.unknown()
    case 'string':
      return z.string()
    case 'enum':
      return z.enum(type.values)
    case 'nullable':
      return type.optional ? schemaOfType(type.inner).nullish() : schemaOfType(type.inner).nullable()
    case 'array':
      return z.array(schemaOfType(type.element))
    case 'object':
      return z.object(Object.fromEntries(type.fields.map(field => [field.name, schemaOfType(field.type)])))
    case 'record':
      return z.record(type.keys ? z.enum(type.keys) : z.string(), schemaOfType(type.value))
    case 'map':
      return z.map(schemaOfType(type.key), schemaOfType(type.value))
  }
}
