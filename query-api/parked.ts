// Parked rows over HTTP: those there are, and what a request to read them again says, checked.
import { fail, type ParkedEntry, type ParkedRetried, type ParkedRetry } from '../core/index.ts'
import { formatLogToken } from './token.ts'

export interface ParkedWire extends Omit<ParkedEntry, 'logPosition'> {
  readonly logPosition: string
}

export const parkedWire = (entries: readonly ParkedEntry[]): readonly ParkedWire[] =>
  entries.map(entry => ({ ...entry, logPosition: String(entry.logPosition) }))

export interface RetriedWire extends Omit<ParkedRetried, 'position'> {
  /** Waits for it: `after=` of a read. */
  readonly token: string
}

export const retriedWire = (logId: string, { position, ...rest }: ParkedRetried): RetriedWire => ({
  ...rest,
  token: formatLogToken(logId, position),
})

const HINT = 'send {}, {"table": "orders"}, or {"table": "orders", "key": "42", "set": {"status": "paid"}}'
const MEMBERS = ['table', 'key', 'set']

/** `{ table?, key?, set? }`; a table with or without its source's name. @throws REQUEST_INVALID */
export function parkedRetryOf(body: unknown, source: string): ParkedRetry {
  if (!isRecord(body)) throw invalid('the body is not an object')
  const unknown = Object.keys(body).find(name => !MEMBERS.includes(name))
  if (unknown !== undefined) throw invalid(`unknown member '${unknown.slice(0, 100)}'`)
  const { table, key, set } = body
  for (const [name, value] of Object.entries({ table, key }))
    if (value !== undefined && typeof value !== 'string') throw invalid(`'${name}' is not a text`)
  if (set !== undefined && key === undefined) throw invalid("'set' needs the 'key' of a row")
  return {
    ...(typeof table === 'string' ? { topic: table.startsWith(`${source}.`) ? table : `${source}.${table}` } : {}),
    ...(typeof key === 'string' ? { key } : {}),
    ...(set === undefined ? {} : { set: valuesOf(set) }),
  }
}

function valuesOf(set: unknown): Readonly<Record<string, string | null>> {
  if (!isRecord(set)) throw invalid("'set' is not an object")
  const entries = Object.entries(set).map(([name, value]) => {
    if (typeof value === 'string' || value === null) return [name, value] as const
    throw invalid(`'${name.slice(0, 100)}' is neither the database's text of a value nor null`)
  })
  return Object.fromEntries(entries)
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const invalid = (message: string) => fail('REQUEST_INVALID', message, { hint: HINT })
