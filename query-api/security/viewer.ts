// Who asks: what it may do, and which rows it may see. One object per credential, kept as long as that is known, so that claims are
// checked against a policy once.
import { type AnyRow, fail, type MainstemError } from '../../core/index.ts'
import type { LiveView, Policy } from '../../projections/index.ts'
import { hasScope } from './scopes.ts'

/** What is known of a client; policies look at it. `sub` says who it is. */
export type Claims = Readonly<Record<string, unknown>>

/** Whether a row may be seen. */
export type RowFilter = (row: AnyRow, key: unknown) => boolean

export class Viewer {
  /** Who it is, in logs and in the list of actions: `key:reporting`, `jwt:ada`. */
  readonly name: string
  readonly claims: Claims
  /** Epoch milliseconds; Infinity where it does not end. */
  readonly expiresMs: number
  readonly #scopes: ReadonlySet<string>
  #ended: string | undefined
  readonly #filters = new Map<Policy, RowFilter>()

  constructor(name: string, scopes: readonly string[], claims: Claims, expiresMs = Number.POSITIVE_INFINITY) {
    this.name = name
    this.claims = claims
    this.expiresMs = expiresMs
    this.#scopes = new Set(scopes)
  }

  /** It is known no longer: what is open for it ends. */
  end(why: string): void {
    this.#ended = why
  }

  /** Why it is known no longer, at a time in epoch milliseconds; undefined: it is. For what stays open after its request was let in. */
  over(nowMs: number): MainstemError | undefined {
    const why = this.#ended ?? (nowMs >= this.expiresMs ? 'the key or token has expired' : undefined)
    return why === undefined ? undefined : fail('UNAUTHENTICATED', why, { hint: 'connect again with a new one' })
  }

  allows(scope: string): boolean {
    return hasScope(this.#scopes, scope)
  }

  /** @throws FORBIDDEN naming the scope */
  demand(scope: string): void {
    if (this.allows(scope)) return
    throw fail('FORBIDDEN', `the scope ${scope} is needed`, {
      detail: `${this.name} does not have it`,
      data: { scope },
    })
  }

  /** What it may see of a view; undefined: all rows. @throws FORBIDDEN where it has not the claims that the view's policy looks at */
  filter({ name, policy }: LiveView): RowFilter | undefined {
    if (policy === undefined) return undefined
    const known = this.#filters.get(policy)
    if (known) return known
    const { success, data, error } = policy.claims.safeParse(this.claims)
    if (!success) {
      const [issue] = error.issues
      throw fail('FORBIDDEN', `view '${name}' is for clients with other claims`, {
        detail: `${issue?.path.join('.') || 'claims'}: ${issue?.message ?? 'not as its policy wants them'}`,
        hint: 'its policy looks at claims that the key or token must carry',
      })
    }
    const filter: RowFilter = (row, key) => sees(name, policy, data, row, key)
    this.#filters.set(policy, filter)
    return filter
  }
}

/** @throws POLICY_FAILED: a row of which nobody knows whether it may be seen is not shown */
function sees(view: string, policy: Policy, claims: AnyRow, row: AnyRow, key: unknown): boolean {
  let seen: unknown
  try {
    seen = policy.sees(claims, row, key)
  } catch (error) {
    throw fail('POLICY_FAILED', `the policy of view '${view}' failed`, { cause: error })
  }
  if (typeof seen === 'boolean') return seen
  throw fail('POLICY_FAILED', `the policy of view '${view}' gave neither true nor false`)
}
