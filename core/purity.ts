// Law 1: a view is a function of the log. While a handler, an upcast or a decision runs, the clock, randomness, timers and network throw. The
// guards are installed once, by the engine, around the real functions, and cost one comparison while neither runs.
import { fail } from './errors.ts'

/** What runs, for the error's text: a view's handler, an upcast, or a decision on a command. */
export interface HandlerOwner {
  describeHandler(): string
  /** Why it must not, and what to do instead, where it is no view's. */
  readonly impure?: { readonly detail: string; readonly hint: string }
}

let running: HandlerOwner | undefined

export function enterHandlers(owner: HandlerOwner): void {
  running = owner
}

export function leaveHandlers(): void {
  running = undefined
}

function refuseInHandler(what: string): void {
  if (running === undefined) return
  throw fail(
    'HANDLER_IMPURE',
    `${what} called in ${running.describeHandler()}`,
    running.impure ?? { detail: 'a view is a function of the log; a replay would give another answer' },
  )
}

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown

function guard(owner: object, name: string, what: string): void {
  const original = Reflect.get(owner, name) as AnyFunction | undefined
  if (typeof original !== 'function') return
  const guarded = function (this: unknown, ...args: unknown[]) {
    refuseInHandler(what)
    return Reflect.apply(original, this, args)
  }
  // Promisified and other extras of the original stay reachable.
  Object.defineProperties(guarded, Object.getOwnPropertyDescriptors(original))
  Reflect.set(owner, name, guarded)
}

/** `new Date()` reads the clock; `new Date(value)` does not. */
function guardDate(): void {
  globalThis.Date = new Proxy(Date, {
    construct(target, args, newTarget) {
      if (args.length === 0) refuseInHandler('new Date()')
      return Reflect.construct(target, args, newTarget)
    },
    apply(target, thisArg, args) {
      refuseInHandler('Date()')
      return Reflect.apply(target, thisArg, args)
    },
  })
}

let installed = false

/** Installs the guards in this thread; further calls do nothing. */
export function installPurityGuards(): void {
  if (installed) return
  installed = true
  guard(Date, 'now', 'Date.now()')
  guardDate()
  guard(Math, 'random', 'Math.random()')
  guard(performance, 'now', 'performance.now()')
  for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'fetch'])
    guard(globalThis, name, `${name}()`)
  guard(crypto, 'randomUUID', 'crypto.randomUUID()')
  guard(crypto, 'getRandomValues', 'crypto.getRandomValues()')
}
