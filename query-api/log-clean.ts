// `POST /v1/log/clean`: what a request to remove history says, checked, and what the answer tells.
import { type CleanReport, type CleanRequest, fail } from '../core/index.ts'

/** The report as JSON carries it: positions are text. */
export interface CleanWire extends Omit<CleanReport, 'to' | 'limitedBy'> {
  readonly to: string
  /** What held it back, and where. */
  readonly limitedBy: { readonly name: string; readonly position: string } | null
}

export const cleanWire = ({ to, limitedBy, ...report }: CleanReport): CleanWire => ({
  ...report,
  to: String(to),
  limitedBy: limitedBy ? { name: limitedBy.name, position: String(limitedBy.position) } : null,
})

const NAMES = ['trim', 'compact', 'to', 'force', 'dryRun']
const HINT =
  'send {"trim": {"topic": "1000"}, "compact": {"table": null}, "to": "5000", "force": false, "dryRun": true}'

/** `{ trim?, compact?, to?, force?, dryRun? }`; positions as text or numbers, null for as far as possible. @throws REQUEST_INVALID */
export function cleanRequestOf(body: unknown): CleanRequest {
  if (!isObject(body)) throw invalid('the body is not an object')
  const unknown = Object.keys(body).find(name => !NAMES.includes(name))
  if (unknown !== undefined) throw invalid(`unknown member '${unknown.slice(0, 100)}'`)
  const { trim, compact, to } = body
  return {
    ...(trim === undefined ? {} : { trim: positionsOf('trim', trim) }),
    ...(compact === undefined ? {} : { compact: positionsOf('compact', compact) }),
    ...(to === undefined ? {} : { to: positionOf('to', to) }),
    ...flagOf(body, 'force'),
    ...flagOf(body, 'dryRun'),
  }
}

function flagOf<N extends 'force' | 'dryRun'>(
  body: Readonly<Record<string, unknown>>,
  name: N,
): { readonly [F in N]?: boolean } {
  const value = body[name]
  if (value === undefined) return {}
  if (typeof value !== 'boolean') throw invalid(`'${name}' is not true or false`)
  return { [name]: value } as { readonly [F in N]?: boolean }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const invalid = (message: string) => fail('REQUEST_INVALID', message, { hint: HINT })

function positionsOf(name: string, value: unknown): Record<string, number> {
  if (!isObject(value)) throw invalid(`'${name}' is not an object of topics and positions`)
  return Object.fromEntries(Object.entries(value).map(([topic, position]) => [topic, positionOf(name, position)]))
}

function positionOf(name: string, value: unknown): number {
  if (value === null) return Number.POSITIVE_INFINITY
  const position = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value
  if (typeof position === 'number' && Number.isSafeInteger(position) && position >= 0) return position
  throw invalid(`'${name}' has a position that is none`)
}
