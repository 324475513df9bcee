// How a row of a state starts: zero, null, false, empty, or the field's `.default()`.
import type { z } from 'zod'
import { type AnyRow, defOf, fail } from '../../core/index.ts'

/** A new row of a state schema. @throws DEFINITION_INVALID for a transform, and a field that has no value to start with */
export function zeroOf(schema: z.ZodObject, view: string): AnyRow {
  refuseTransforms(schema, view)
  return zeroValue(schema, view) as AnyRow
}

function refuseTransforms(schema: z.ZodType, view: string): void {
  const def = defOf(schema)
  if (def.type === 'pipe') {
    throw fail('DEFINITION_INVALID', `the state of '${view}' has a transform`, {
      hint: 'a state is what is stored: declare its output type',
    })
  }
  for (const inner of [def.innerType, def.element, def.valueType, ...Object.values(def.shape ?? {})]) {
    if (inner) refuseTransforms(inner, view)
  }
}

function zeroValue(schema: z.ZodType, path: string): unknown {
  const def = defOf(schema)
  switch (def.type) {
    case 'default':
    case 'prefault':
      return def.defaultValue
    case 'nullable':
      return null
    case 'optional':
      return undefined
    case 'number':
      return 0
    case 'bigint':
      return 0n
    case 'boolean':
      return false
    case 'array':
      return []
    case 'map':
      return new Map()
    case 'readonly':
      if (def.innerType) return zeroValue(def.innerType, path)
      break
    case 'object': {
      const fields = Object.entries(def.shape ?? {})
      return Object.fromEntries(fields.map(([name, field]) => [name, zeroValue(field, `${path}.${name}`)]))
    }
    case 'record': {
      const keys = def.keyType ? defOf(def.keyType).entries : undefined
      const value = def.valueType
      if (!keys || !value) return {}
      return Object.fromEntries(Object.values(keys).map(key => [String(key), zeroValue(value, `${path}.${key}`)]))
    }
  }
  throw fail('DEFINITION_INVALID', `state field '${path}' has no value to start with`, {
    detail: `its type is ${def.type}`,
    hint: 'say .default(value) or .nullable()',
  })
}
