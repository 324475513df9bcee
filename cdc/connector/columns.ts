// What every database's columns need of the contract's schemas.
import type { z } from 'zod'
import { defOf, sameBytes } from '../../core/index.ts'
import type { Reader, Writer } from './rows.ts'
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

// -- writers of values whose schema says only a type, given how their bytes are read; NaN is what is refused

type NumberReader = (bytes: Buffer, start: number, end: number) => number

/** Of int32 and int, of which the reader gives no others; of dates, in milliseconds since 1970. */
export const intWriter =
  (read: NumberReader): Writer =>
  (to, bytes, start, end) => {
    const value = read(bytes, start, end)
    if (Number.isNaN(value)) return false
    to.int(value)
    return true
  }

/** Of texts that stand in the bytes as they are. */
export const textWriter: Writer = (to, bytes, start, end) => {
  to.utf8(bytes, start, end)
  return true
}

/** Above, a map finds a text sooner. */
const COMPARED_MAX = 16

/** Of texts of which there are few; undefined where there are many. */
export function enumWriter(values: readonly string[]): Writer | undefined {
  if (values.length > COMPARED_MAX) return undefined
  const texts = values.map(value => Buffer.from(value))
  return (to, bytes, start, end) => {
    for (let n = 0; n < texts.length; n++) {
      const text = texts[n]!
      if (text.length !== end - start || !sameBytes(text, 0, bytes, start, text.length)) continue
      to.varint(n)
      return true
    }
    return false
  }
}
