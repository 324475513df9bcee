// Handlers by variant as one: generated code that goes by the event's discriminator, so that each handler has a call site of
// its own. Names reach the generated text only through JSON.stringify.
import { type AnyRow, discriminatorOf } from '../core/index.ts'
import type { DeclaredHandlers, EventHandlers, On } from './projection.ts'

type Handler = (state: AnyRow, ...rest: unknown[]) => unknown

export interface VariantHandlers {
  /** False for events of variants that have no handler: they touch no row. */
  readonly handles: (event: AnyRow) => boolean
  readonly handler: Handler
  /** The field by which variants are told apart, and the handler of each. */
  readonly by: string
  readonly handlers: ReadonlyMap<unknown, Handler>
}

/** Undefined where there is one handler for all, or the input is a table. */
export function variantHandlersOf(input: On['input'], handlers: DeclaredHandlers): VariantHandlers | undefined {
  if (input.kind !== 'topic' || typeof handlers === 'function' || !input.value) return undefined
  const names = Object.keys(handlers)
  const functions = Object.values(handlers as EventHandlers)
  const discriminator = discriminatorOf(input.value) ?? ''
  const cases = names.map((name, n) => `case ${JSON.stringify(name)}: return h${n}(state, event, ctx)`).join('\n')
  const text = `return (state, event, ctx) => { switch (event[${JSON.stringify(discriminator)}]) {\n${cases}\n} }`
  const made = new Function(...names.map((_, n) => `h${n}`), text)
  const byName = new Map<unknown, Handler>(names.map((name, n) => [name, functions[n] as Handler]))
  return {
    handles: event => byName.has(event[discriminator]),
    handler: made(...functions) as Handler,
    by: discriminator,
    handlers: byName,
  }
}
