// Who may see which rows of a view: `projection(…).policy(claims, (claims, row, key) => …)`. It is asked where rows are read, never where
// they are folded: a view is the same whoever looks at it.
import { z } from 'zod'
import { type AnyRow, fail } from '../core/index.ts'

/** One `.policy`, as declared. */
export interface Policy {
  /** What it needs to know of a client. */
  readonly claims: z.ZodObject
  readonly sees: (claims: AnyRow, row: AnyRow, key: unknown) => boolean
}

/** @throws DEFINITION_INVALID, HANDLER_ASYNC */
export function declarePolicy(
  name: string,
  claims: z.ZodObject,
  sees: Policy['sees'],
  declared: Policy | undefined,
): Policy {
  if (declared)
    throw fail('DEFINITION_INVALID', `${name} has two policies`, {
      hint: 'say all of it in one: (claims, row) => a && b',
    })
  if (!(claims instanceof z.ZodObject) || typeof sees !== 'function')
    throw fail('DEFINITION_INVALID', `${name}.policy needs the claims that it looks at, and a function`, {
      hint: '.policy(z.object({ tenant: z.string() }), (claims, row) => row.tenant === claims.tenant)',
    })
  if (sees.constructor.name === 'AsyncFunction')
    throw fail('HANDLER_ASYNC', `${name}.policy is async`, {
      hint: 'a row is seen or not at once: put into the claims what it needs',
    })
  return { claims, sees }
}
