// Rows in order over HTTP: pages of the present, each tried again where it fails, since a cursor says where to go on; of the past lines
// of one answer, which is at one cut.
import type { AnyRow } from '../../core/index.ts'
import { RANGE_PAGE_MAX } from '../limits.ts'
import type { Entry, KeyRange, Page, Rows, RowsOptions } from '../rows.ts'
import type { Call, Parameters } from './calls.ts'
import { ClientError, invalid } from './client-error.ts'
import { type Keys, plainText, whyNoText } from './keys.ts'
import { rowsByPage } from './pages.ts'
import { linesOf } from './pieces.ts'
import { answerOf, type Reader, typesOf } from './reader.ts'
import { reviverOf } from './revive.ts'

export interface RowsRequest {
  readonly reader: Reader
  /** Of the view. */
  readonly path: string
  readonly keys: Keys
  readonly options: RowsOptions
  readonly range?: KeyRange<unknown>
  readonly where?: Readonly<Record<string, unknown>>
}

interface EntryWire {
  readonly key: unknown
  readonly value: unknown
}

export function rowsOverHttp(request: RowsRequest): Rows<unknown, AnyRow> {
  const { reader, options, where } = request
  const path = `${request.path}/rows`
  const { signal, order, limit } = options
  const asked = async () => ({
    keys: await keyParameters(request),
    query: { ...(where === undefined ? {} : whereParameters(where)), order },
  })

  const page = async (cursor: string | undefined, most: number): Promise<Page<unknown, AnyRow>> => {
    const { keys, query } = await asked()
    const answer = await reader.ask(path, options, { keys, query: { ...query, cursor, limit: most } })
    const { rows, cursor: next } = answer.body as {
      readonly rows: readonly EntryWire[]
      readonly cursor: string | null
    }
    const entry = await entryReader(request, answer.headers)
    return { ...answerOf(answer.body, rows.map(entry)), ...(next === null ? {} : { cursor: next }) }
  }

  const past = async function* (most: number): AsyncGenerator<Entry<unknown, AnyRow>> {
    const { keys, query } = await asked()
    const line: Omit<Call, 'query'> = { path, keys, safe: true, signal, headers: { accept: 'application/x-ndjson' } }
    // Where it is more, the answer is left when all has come.
    const limited = most <= RANGE_PAGE_MAX ? { limit: most } : {}
    const { headers, pieces } = await reader.waiting(options, when =>
      reader.calls.stream({ ...line, query: { ...when, ...query, ...limited } }),
    )
    const entry = await entryReader(request, headers)
    let left = most
    for await (const text of linesOf(pieces)) {
      const json = JSON.parse(text) as EntryWire | { readonly end: true }
      if ('end' in json || left-- === 0) return
      yield entry(json)
    }
    throw new ClientError({
      title: 'the rows were cut short',
      code: 'APPLICATION_UNREACHABLE',
      status: 503,
      retriable: true,
      hint: 'read them again: of the past they are the same',
    })
  }
  return rowsByPage({ page, past: options.at === undefined ? undefined : past, limit })
}

async function entryReader({ keys, options }: RowsRequest, headers: Headers) {
  const [readKey, revive] = [await keys.reader(options.signal), reviverOf(typesOf(headers))]
  return ({ key, value }: EntryWire): Entry<unknown, AnyRow> => ({
    key: readKey(key),
    value: revive(value) as AnyRow,
  })
}

async function keyParameters({ keys, range = {}, options: { signal } }: RowsRequest): Promise<Record<string, string>> {
  const { prefix, from, to } = range as KeyRange<unknown> & { readonly prefix?: unknown }
  return {
    ...(prefix === undefined ? {} : { prefix: await keys.prefix(prefix, signal) }),
    ...(from === undefined ? {} : { from: await keys.text(from, signal) }),
    ...(to === undefined ? {} : { to: await keys.text(to, signal) }),
  }
}

/** A condition that is forgotten would be a scan of all rows: what is undefined is refused. */
export function whereParameters(where: Readonly<Record<string, unknown>>): Parameters {
  const fields = Object.entries(where)
  if (fields.length === 0)
    throw new ClientError({
      title: 'no index serves conditions on nothing',
      code: 'NO_INDEX',
      status: 400,
      retriable: false,
      hint: 'all rows are a range: range()',
    })
  return Object.fromEntries(fields.flatMap(([field, condition]) => conditionOf(`where.${field}`, condition)))
}

function conditionOf(name: string, condition: unknown): readonly (readonly [string, string | boolean])[] {
  if (condition === null) return [[`${name}.null`, true]]
  if (typeof condition !== 'object' || condition instanceof Date) return [[name, valueText(name, condition)]]
  const bounds = Object.entries(condition).filter(([, value]) => value !== undefined)
  // Without bounds: all rows where it is not null, in the order of the index.
  if (bounds.length === 0) return [[`${name}.null`, false]]
  return bounds.map(([bound, value]) => [`${name}.${bound}`, valueText(`${name}.${bound}`, value)])
}

/** @throws REQUEST_INVALID */
function valueText(name: string, value: unknown): string {
  const text = plainText(value)
  if (text !== undefined) return text
  throw invalid(`'${name}' is not valid`, value === null ? 'null is in no range' : whyNoText(value))
}
