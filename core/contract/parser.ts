// From a schema's input to its output, at the door: a generated check where the schema only says a type, zod itself
// for refinements, formats and transforms, and zod for every error text.
import type { z } from 'zod'
import { fail } from '../errors.ts'
import { defOf, describe, isPlain, type ValueType } from './describe.ts'
import type { AnyRow } from './values.ts'

/** @throws RECORD_REFUSED, `detail` naming each field and what is wrong with it */
export type Parser = (input: unknown) => AnyRow

export function compileParser(schema: z.ZodObject, name: string): Parser {
  const plain = plainFields(schema)
  return input => {
    if (plain && typeof input === 'object' && input !== null) {
      const row = takePlain(plain, input as AnyRow)
      if (row) return row
    }
    const result = schema.safeParse(input)
    if (result.success) return result.data as AnyRow
    throw refusal(name, result.error)
  }
}

/** zod's issues as one line: `name: expected string, received null; age: too small`. */
export function issuesText(error: z.ZodError): string {
  return error.issues
    .map(issue => `${issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''}${lowerFirst(issue.message)}`)
    .join('; ')
}

const lowerFirst = (text: string): string =>
  text.replace(/^Invalid input: /, '').replace(/^[A-Z]/, first => first.toLowerCase())

export const refusal = (name: string, error: z.ZodError) =>
  fail('RECORD_REFUSED', `a record of ${name} is not of its contract`, { detail: issuesText(error) })

interface PlainField {
  readonly name: string
  readonly holds: (value: unknown) => boolean
}

/** The fields, when no field needs zod; undefined when one does, or the object itself has refinements or is strict. */
function plainFields(schema: z.ZodObject): readonly PlainField[] | undefined {
  const def = defOf(schema)
  if ((def.checks?.length ?? 0) > 0 || 'catchall' in def) return undefined
  const fields: PlainField[] = []
  for (const [name, field] of Object.entries(schema.shape)) {
    if (!isPlain(field as z.ZodType)) return undefined
    fields.push({ name, holds: typeTest(describe(field as z.ZodType, 'input', name)) })
  }
  return fields
}

/** The row if every field holds its type, else undefined: zod then says what is wrong. */
function takePlain(fields: readonly PlainField[], input: AnyRow): AnyRow | undefined {
  const row: AnyRow = {}
  for (const field of fields) {
    const value = input[field.name]
    if (!field.holds(value)) return undefined
    row[field.name] = value
  }
  return row
}

function typeTest(type: ValueType): (value: unknown) => boolean {
  switch (type.kind) {
    case 'int32':
      return value => typeof value === 'number' && value === (value | 0)
    case 'int':
      return value => Number.isSafeInteger(value)
    case 'float':
      return value => typeof value === 'number' && Number.isFinite(value)
    case 'bigint':
    case 'boolean':
    case 'string':
      return value => typeof value === type.kind
    case 'date':
      return value => value instanceof Date && !Number.isNaN(value.getTime())
    case 'enum': {
      const values = new Set(type.values)
      return value => typeof value === 'string' && values.has(value)
    }
    case 'nullable': {
      const inner = typeTest(type.inner)
      return value => value === null || inner(value)
    }
    default:
      return () => false
  }
}
