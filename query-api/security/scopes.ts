// What a client may do, as scopes: `view:accounts`, `topic:orders`, `command:seats`, `log:shop.orders`, `admin:replay`, `metrics`; `view:*`
// stands for all views, `admin:*` for all verbs.
import { fail } from '../../core/index.ts'

/** Kinds that need a name after a colon, and what they let a client do. */
export const SCOPE_KINDS = {
  view: 'read rows of a view',
  topic: 'append to a topic',
  command: 'send commands to a decider: all of them, or one (command:seats.hold)',
  log: 'read records of a topic of the log, and a captured table (its topic is source.table)',
  admin: 'do what operators do: a verb such as replay, savepoint, snapshot',
} as const

/** What needs no name: how the application is, without any row. */
const METRICS = 'metrics'

/** @throws ACCESS_INVALID naming the one that is none */
export function checkScopes(scopes: readonly string[]): readonly string[] {
  for (const scope of scopes) {
    const [, kind = '', name = ''] = /^([a-z]+):(.+)$/.exec(scope) ?? []
    if (scope === METRICS || (Object.hasOwn(SCOPE_KINDS, kind) && name !== '')) continue
    throw fail('ACCESS_INVALID', `'${scope.slice(0, 100)}' is no scope`, {
      hint: `say ${Object.keys(SCOPE_KINDS)
        .map(each => `${each}:NAME`)
        .join(', ')} (or :* for all of a kind) or ${METRICS}`,
    })
  }
  return scopes
}

/** Whether scopes include one. */
export function hasScope(scopes: ReadonlySet<string>, scope: string): boolean {
  return scopes.has(scope) || scopes.has(`${scope.slice(0, scope.indexOf(':'))}:*`)
}
