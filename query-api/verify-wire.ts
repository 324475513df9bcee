// `POST /v1/verify` and `GET /v1/verify`: what a request says, checked, and how a verification is told in JSON.
import { fail } from '../core/index.ts'
import type { VerifiedView, VerifyStatus } from '../projections/index.ts'
import type { Reads } from './reads.ts'

const HINT = 'send {} for all views, or {"views": ["accounts"]}'

/** `{ views? }`. @throws REQUEST_INVALID */
export function verifyRequestOf(body: unknown): readonly string[] | undefined {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalid('the body is not an object')
  const unknown = Object.keys(body).find(name => name !== 'views')
  if (unknown !== undefined) throw invalid(`unknown member '${unknown.slice(0, 100)}'`)
  const { views } = body as { views?: unknown }
  if (views === undefined) return undefined
  if (Array.isArray(views) && views.length > 0 && views.every(name => typeof name === 'string')) return views
  throw invalid("'views' is not a list of names")
}

const invalid = (message: string) => fail('REQUEST_INVALID', message, { hint: HINT })

/** A row that differs, as the wire carries it. */
export interface ComparedRowWire {
  readonly value: Readonly<Record<string, unknown>>
  readonly support: number
}

export interface VerifiedViewWire extends Omit<VerifiedView, 'first'> {
  readonly first: {
    readonly key: unknown
    readonly live: ComparedRowWire | null
    readonly refolded: ComparedRowWire | null
    readonly lastRecord: string | null
  } | null
}

export interface VerifyWire extends Omit<VerifyStatus, 'report'> {
  readonly report: {
    readonly position: string
    readonly records: number
    readonly seconds: number
    readonly views: readonly VerifiedViewWire[]
  } | null
}

/** As JSON text: rows are written as reads write them. */
export function verifyJson(reads: Reads, { state, progress, report, error }: VerifyStatus): string {
  const rest = JSON.stringify({ state, progress, error }).slice(1)
  if (report === null) return `{"report":null,${rest}`
  const { position, records, seconds, views } = report
  const each = views.map(view => verifiedJson(reads, view)).join(',')
  return `{"report":{"position":"${position}","records":${records},"seconds":${seconds},"views":[${each}]},${rest}`
}

/** One view's comparison. */
export function verifiedJson(reads: Reads, { first, ...view }: VerifiedView): string {
  const rest = JSON.stringify(view).slice(1)
  if (first === null) return `{"first":null,${rest}`
  const { writeKey, writeValue } = reads.view(view.view)
  const row = (side: typeof first.live) =>
    side === null ? 'null' : `{"value":${writeValue(side.value)},"support":${side.support}}`
  const last = first.lastRecord === null ? 'null' : `"${first.lastRecord}"`
  const members = `"key":${writeKey(first.key)},"live":${row(first.live)},"refolded":${row(first.refolded)},"lastRecord":${last}`
  return `{"first":{${members}},${rest}`
}
