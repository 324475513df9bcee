// What every database's columns need of the contract's schemas.
import type { z } from 'zod'
import { defOf } from '../../core/index.ts'
import type { Reader } from './rows.ts'
import { REFUSED } from './text-values.ts'

const TRANSPARENT = new Set(['nullable', 'optional', 'readonly', 'nonoptional'])

/** The schema without the wrappers that let other values through unchanged. */
export function coreOf(schema: z.ZodType): { readonly core: z.ZodType; readonly nullable: boolean } {
  let core = schema
  let nullable = false
  for (;;) {
    const def = defOf(core)
    if (!TRANSPARENT.has(def.type) || !def.innerType || (def.checks?.length ?? 0) > 0) return { core, nullable }
    if (def.type === 'nullable') nullable = true
    core = def.innerType
  }
}

/**
 * Through the schema itself.
 * @param raw the value's text · @param input from it to what the schema takes
 */
export function checkedReader(
  schema: z.ZodType,
  raw: (bytes: Buffer, start: number, end: number) => string,
  input: (text: string) => unknown,
): Reader {
  return (bytes, start, end) => {
    const result = schema.safeParse(input(raw(bytes, start, end)))
    return result.success ? result.data : REFUSED
  }
}
