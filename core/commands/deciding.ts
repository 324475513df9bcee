// Calls of `decide`: under the guards of purity, and what they give looked at before it is believed.
import type { AnyRow } from '../contract/index.ts'
import { asMainstemError, fail } from '../errors.ts'
import { enterHandlers, type HandlerOwner, leaveHandlers } from '../purity.ts'
import type { Refusal } from './decider.ts'
import type { DeciderDefinition } from './definition.ts'
import { EVENTS_PER_COMMAND_MAX } from './limits.ts'

/** What refusals are made of: an event could have a field `refused`. */
class Refused implements Refusal {
  readonly refused: string

  constructor(refused: string) {
    this.refused = refused
  }
}

export const isRefusal = (decision: readonly AnyRow[] | Refusal): decision is Refusal => decision instanceof Refused

const refuse = (reason: string): Refusal => new Refused(reason)

export class Deciding implements HandlerOwner {
  readonly impure = {
    detail: 'what is decided must follow from the state and the command',
    hint: 'use ctx.nowMs, or bring the data with the command',
  }
  readonly #definition: DeciderDefinition
  #type = ''

  constructor(definition: DeciderDefinition) {
    this.#definition = definition
  }

  describeHandler(): string {
    return `${this.#definition.name}.decide.${this.#type}`
  }

  /** @throws COMMAND_FAILED, HANDLER_IMPURE, HANDLER_ASYNC */
  decide(
    type: string,
    state: AnyRow,
    command: AnyRow,
    known: { readonly key: unknown; readonly nowMs: number },
  ): readonly AnyRow[] | Refusal {
    this.#type = type
    const decide = this.#definition.decides[type] as (...args: unknown[]) => unknown
    enterHandlers(this)
    try {
      const decision = decide(Object.freeze(state), command, { ...known, refuse })
      leaveHandlers()
      return this.#checked(decision)
    } catch (error) {
      leaveHandlers()
      const { code, message, detail, hint } = asMainstemError(
        error,
        'COMMAND_FAILED',
        `${this.describeHandler()} threw`,
      )
      // Its text may have what is not for whoever sent the command: it is in the cause.
      throw fail(code, message, {
        ...(detail === undefined || code === 'COMMAND_FAILED' ? {} : { detail }),
        ...(hint === undefined ? {} : { hint }),
        cause: error,
      })
    }
  }

  #checked(decision: unknown): readonly AnyRow[] | Refusal {
    const { name, spec } = this.#definition
    if (decision instanceof Refused) {
      if (Object.hasOwn(spec.refusals ?? {}, decision.refused)) return decision
      throw fail('COMMAND_FAILED', `${this.describeHandler()} gave a refusal that ${name} does not declare`)
    }
    if (typeof decision === 'object' && decision !== null && 'then' in decision)
      throw fail('HANDLER_ASYNC', `${this.describeHandler()} returned a promise`)
    const events = Array.isArray(decision) ? decision : [decision]
    if (events.length > EVENTS_PER_COMMAND_MAX)
      throw fail('COMMAND_FAILED', `${this.describeHandler()} gave more than ${EVENTS_PER_COMMAND_MAX} events`)
    if (events.every(event => typeof event === 'object' && event !== null)) return events as AnyRow[]
    throw fail('COMMAND_FAILED', `${this.describeHandler()} gave no event, no list of events and no refusal`)
  }
}
