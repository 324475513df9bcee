// Reads that wait for a write: each token first for its source (is it durable in the log?), then for the views (is that
// position applied?). Bounded in number and in time; the error at the end says what was waited for and where it is now.
import { fail, isMainstemError, type Log, type SourceConnector } from '../core/index.ts'
import type { Engine } from '../projections/index.ts'
import { TIMEOUT_MS_DEFAULT, WAITING_READS_MAX } from './limits.ts'
import { parseToken, type Token } from './token.ts'

export interface WaitFor {
  readonly after: readonly string[]
  /** Milliseconds, default 5,000. */
  readonly timeoutMs?: number | undefined
  /** Ends the wait early, with its reason: the client has gone. */
  readonly signal?: AbortSignal | undefined
}

/** Tries a read before its wait: what waiting would not mend (the view has stopped) is said at once, what it may is not said. */
export function tryBeforeWait(read: () => unknown): void {
  try {
    read()
  } catch (error) {
    if (!isMainstemError(error) || !error.retriable) throw error
  }
}

interface WaitParts {
  readonly engine: Engine
  readonly log: Log
  readonly sources: ReadonlyMap<string, SourceConnector>
}

/** A token on its way. */
interface Pending {
  readonly token: Token
  /** The log position that holds it; undefined while its source has not got so far. */
  position: number | undefined
  done: boolean
}

export class Waits {
  readonly #parts: WaitParts
  readonly #waiting = new Set<AbortController>()
  #closed = false

  constructor(parts: WaitParts) {
    this.#parts = parts
  }

  async wait({ after, timeoutMs = TIMEOUT_MS_DEFAULT, signal }: WaitFor): Promise<void> {
    const tokens = after.map(text => this.#checked(text))
    const { engine } = this.#parts
    if (tokens.every(token => token.kind === 'log' && token.position <= engine.position)) return
    checkWaiting(this.#waiting.size, this.#closed)
    const pending = tokens.map((token): Pending => ({ token, position: undefined, done: false }))
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(this.#notReached(pending, timeoutMs)), timeoutMs)
    const leave = () => controller.abort(signal?.reason)
    this.#waiting.add(controller)
    try {
      if (signal?.aborted) leave()
      else signal?.addEventListener('abort', leave, { once: true })
      await untilAborted(Promise.all(pending.map(each => this.#reach(each, controller.signal))), controller.signal)
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', leave)
      this.#waiting.delete(controller)
      // Where one token failed, the others need not be waited for.
      controller.abort(shuttingDown())
    }
  }

  /** Reads that wait. */
  get size(): number {
    return this.#waiting.size
  }

  close(): void {
    this.#closed = true
    for (const controller of this.#waiting) controller.abort(shuttingDown())
  }

  async #reach(pending: Pending, signal: AbortSignal): Promise<void> {
    const { token } = pending
    const { engine, sources } = this.#parts
    pending.position =
      token.kind === 'log' ? token.position : await sources.get(token.source)?.reached(token.position, signal)
    await engine.waitFor(pending.position ?? 0, signal)
    pending.done = true
  }

  /** @throws TOKEN_MALFORMED, TOKEN_OTHER_LOG */
  #checked(text: string): Token {
    const { log, sources } = this.#parts
    const token = parseToken(text, log.id)
    if (token.kind === 'log') return token
    const source = sources.get(token.source)
    if (!source) {
      throw fail('TOKEN_MALFORMED', `the token names no source of this application`, {
        detail: `it names '${token.source.slice(0, 100)}', the application has ${[...sources.keys()].join(', ') || 'no sources'}`,
      })
    }
    source.checkPosition(token.position)
    return token
  }

  #notReached(pending: readonly Pending[], timeoutMs: number) {
    const waitingFor = pending.filter(each => !each.done).map(each => this.#describe(each))
    const detail = waitingFor.map(each => each.text).join('; ')
    return fail('NOT_REACHED', `the views have not reached the write after ${timeoutMs} ms`, {
      detail,
      hint: 'ask again with the same token, or give a larger timeoutMs',
      data: {
        waitingFor: waitingFor.map(({ text: _, ...rest }) => rest),
        position: String(this.#parts.engine.position),
      },
    })
  }

  #describe({ token, position }: Pending) {
    const { engine, log, sources } = this.#parts
    if (token.kind === 'source' && position === undefined) {
      const status = sources.get(token.source)?.status()
      const state = status?.waitingFor ?? status?.error?.message ?? status?.state ?? 'unknown'
      const text = `source ${token.source}: waiting for ${token.position}, it is at ${status?.position ?? 'no position yet'} (${state})`
      return {
        source: token.source,
        position: token.position,
        reached: status?.position ?? null,
        waitingFor: state,
        text,
      }
    }
    const wanted = String(position ?? 0)
    const reached = String(engine.position)
    const source = token.kind === 'source' ? token.source : 'log'
    if ((position ?? 0) > log.end) {
      const text = `the log: waiting for position ${wanted}, it ends at ${log.end}`
      return { source, position: wanted, reached: String(log.end), waitingFor: 'an append', text }
    }
    const text = `the views: waiting for position ${wanted}, they are at ${reached}, the log ends at ${log.end}`
    return { source, position: wanted, reached, waitingFor: 'the views', text }
  }
}

/** Whether another read may wait. @throws SHUTTING_DOWN, OVERLOADED */
export function checkWaiting(waiting: number, closed: boolean): void {
  if (closed) throw shuttingDown()
  if (waiting >= WAITING_READS_MAX)
    throw fail('OVERLOADED', 'too many reads are waiting', { detail: `${WAITING_READS_MAX} at a time is the limit` })
}

export const shuttingDown = () =>
  fail('SHUTTING_DOWN', 'the application is shutting down', { hint: 'ask again when it is back' })

/** The work's outcome, or the signal's reason if that comes first, whether or not the work heeds the signal. */
function untilAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    work.then(
      () => {
        signal.removeEventListener('abort', abort)
        resolve()
      },
      error => {
        signal.removeEventListener('abort', abort)
        reject(error)
      },
    )
  })
}
