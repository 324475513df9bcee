// From a schema's input to its output, at the door: generated code for what it is sure of, zod for all else and for every
// error text.
import type { z } from 'zod'
import { fail, type MainstemError } from '../errors.ts'
import { type FastParse, generateParser } from './parser-code.ts'
import type { AnyRow } from './values.ts'
import type { RecordSchema } from './variants.ts'

/** @throws RECORD_REFUSED, `detail` naming each field and what is wrong with it */
export type Parser = (input: unknown) => AnyRow

/** @param refused the error of what is not of the schema; default RECORD_REFUSED */
export function compileParser(
  schema: RecordSchema,
  name: string,
  refused: (name: string, error: z.ZodError) => MainstemError = refusal,
): Parser {
  let fast: FastParse | undefined
  let generated = false
  return input => {
    // Generated when first used: many that declare a contract only read.
    if (!generated) {
      fast = generateParser(schema)
      generated = true
    }
    const row = fast?.(input)
    if (row !== undefined) return row
    const result = schema.safeParse(input)
    if (result.success) return result.data as AnyRow
    throw refused(name, result.error)
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
