// Dead letters over HTTP: a page of what a view has skipped, and what a request to call it again says, checked.
import { type ErrorReport, fail } from '../core/index.ts'
import type { DeadLetterEntry, Redriven } from '../projections/index.ts'
import { formatLogToken } from './token.ts'

/** A call that a view has skipped, as JSON carries it. */
export interface DeadLetterWire {
  /** Of the record. */
  readonly position: string
  readonly topic: string
  readonly op: string
  /** Which handler it was. */
  readonly step: 'add' | 'remove'
  /** Of the row, as text; null where it could not be had. */
  readonly key: string | null
  readonly error: ErrorReport
  /** ISO 8601. */
  readonly appendTime: string
  /** How often it was called again, in vain. */
  readonly redriven: number
}

export interface DeadLettersWire {
  readonly deadLetters: readonly DeadLetterWire[]
  /** `from` of the next page; null where there is none. */
  readonly next: string | null
  /** How many there are. */
  readonly count: number
}

/** A page: whole records, so that a page may have some more than asked for. */
export function deadLetterPage(letters: readonly DeadLetterEntry[], from: number, limit: number): DeadLettersWire {
  const first = letters.findIndex(({ position }) => position >= from)
  const rest = first < 0 ? [] : letters.slice(first)
  let end = Math.min(limit, rest.length)
  while (end < rest.length && rest[end]!.position === rest[end - 1]!.position) end++
  const next = rest[end]
  return {
    deadLetters: rest.slice(0, end).map(wireOf),
    next: next ? String(next.position) : null,
    count: letters.length,
  }
}

const wireOf = ({ position, topic, op, step, keyText, error, appendTimeMs, redriven }: DeadLetterEntry) => ({
  position: String(position),
  topic,
  op,
  step,
  key: keyText,
  error,
  appendTime: new Date(appendTimeMs).toISOString(),
  redriven,
})

const HINT = 'send {"positions": ["1234"]}, or {"all": true}'

/** `{ positions }` or `{ all: true }`; undefined stands for all. @throws REQUEST_INVALID */
export function redriveRequestOf(body: unknown): readonly number[] | undefined {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalid('the body is not an object')
  const unknown = Object.keys(body).find(name => name !== 'positions' && name !== 'all')
  if (unknown !== undefined) throw invalid(`unknown member '${unknown.slice(0, 100)}'`)
  const { positions, all } = body as { positions?: unknown; all?: unknown }
  if (all === true && positions === undefined) return undefined
  if (all !== undefined) throw invalid("'all' is true, and no positions are given then")
  if (!Array.isArray(positions) || positions.length === 0) throw invalid("'positions' is not a list of positions")
  return positions.map(position => {
    const number = typeof position === 'string' && /^\d{1,16}$/.test(position) ? Number(position) : position
    if (typeof number === 'number' && Number.isSafeInteger(number) && number > 0) return number
    throw invalid("'positions' has one that is none")
  })
}

const invalid = (message: string) => fail('REQUEST_INVALID', message, { hint: HINT })

export interface RedrivenWire {
  readonly positions: readonly string[]
  /** Waits for it: `after=` of a read. */
  readonly token: string
}

export const redrivenWire = (logId: string, { positions, position }: Redriven): RedrivenWire => ({
  positions: positions.map(String),
  token: formatLogToken(logId, position),
})
