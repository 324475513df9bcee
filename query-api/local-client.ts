// The typed client inside of the application's own process: the same reads as over HTTP, without the wire. Types come
// from the application's own views.
import { type AnyRow, type Commands, fail, type Position } from '../core/index.ts'
import {
  type At,
  type CutRead,
  type LiveView,
  planRange,
  type RangeQuery,
  type RowRequest,
  type ViewRow,
} from '../projections/index.ts'
import { atOf } from './at.ts'
import type { Answer, Client, LineageQuery, ReadOptions, ViewClient } from './client/client.ts'
import { checkKeys } from './client/keys.ts'
import { leavable } from './client/leavable.ts'
import { OwnWrites } from './client/own-writes.ts'
import { rowsByPage } from './client/pages.ts'
import { CommandCalls } from './command-calls.ts'
import { copyValue } from './json-writer.ts'
import { LINEAGE_DEFAULT, LINEAGE_MAX } from './limits.ts'
import { checkField, type LineageEntry, lineageEntry } from './lineage.ts'
import { localCommands } from './local-commands.ts'
import { readRange } from './ranges.ts'
import { keyType, type Reads } from './reads.ts'
import type { Entry, Page, Rows, RowsOptions } from './rows.ts'
import { subscribeLocally } from './subscriptions/local-subscription.ts'
import { type Selecting, wantedOf } from './subscriptions/selection.ts'

/** A client of the application that runs in this process. @param commands what takes its commands; without it, it has none */
export function createLocalClient<A>(reads: Reads, commands?: Commands): Client<A> {
  const own = new OwnWrites()
  const views = Object.fromEntries(
    [...reads.engine.views.keys()].map(name => [name, createViewClient(reads, own, name)]),
  )
  const read = async (wanted: Readonly<Record<string, readonly [string, unknown]>>, options?: ReadOptions) => {
    const requests = Object.values(wanted).map(([view, key]) => ({ view, key }))
    const { value: rows, ...rest } = await readRows(reads, requests, afterOwn(own, options))
    return { value: Object.fromEntries(Object.keys(wanted).map((label, n) => [label, rows[n]])), ...rest }
  }
  const sent = commands ? localCommands(new CommandCalls(commands, reads.log.id), own) : {}
  return { views, commands: sent, read } as unknown as Client<A>
}

/** What a read waits for besides its own tokens: what commands of this client came to. */
function afterOwn<O extends Pick<ReadOptions, 'after' | 'at'>>(own: OwnWrites, options: O | undefined): O | undefined {
  if (options?.at !== undefined) return options
  const after = own.tokens(options?.after)
  return after.length === 0 ? options : ({ ...options, after } as O)
}

function createViewClient(reads: Reads, own: OwnWrites, view: string): ViewClient<unknown, AnyRow> {
  return {
    get: async (key, options) => {
      const { value: rows, ...rest } = await readRows(reads, [{ view, key }], afterOwn(own, options))
      return { value: rows[0], ...rest }
    },
    lookup: async (keys, options) => {
      checkKeys(keys)
      const requests = keys.map(key => ({ view, key }))
      return readRows(reads, requests, afterOwn(own, options), [view])
    },
    range: (range = {}, options) => localRows(reads, view, range as RangeQuery, afterOwn(own, options) ?? {}),
    where: (where, options) =>
      localRows(reads, view, { where: where as RangeQuery['where'] & {} }, afterOwn(own, options) ?? {}),
    subscribe: given => {
      const options = afterOwn(own, given)!
      const served = reads.view(view)
      const wanted = wantedOf(served.live, options as Selecting, undefined)
      return leavable(signal => subscribeLocally(reads, served, wanted, { ...options, signal }), options.signal)
    },
    lineage: (key, query = {}) => readLineage(reads, view, key, query),
  }
}

async function readLineage(
  reads: Reads,
  view: string,
  key: unknown,
  { limit = LINEAGE_DEFAULT, before, field, at, signal }: LineageQuery<AnyRow>,
): Promise<readonly LineageEntry<AnyRow>[]> {
  const served = reads.view(view)
  if (field !== undefined) checkField(served, field)
  if (!Number.isInteger(limit) || limit < 1 || limit > LINEAGE_MAX)
    throw fail('REQUEST_INVALID', `a limit of ${limit} is not valid`, { hint: `1 to ${LINEAGE_MAX}` })
  const { steps } = await reads.lineage(served, key, undefined, {
    limit,
    before: before === undefined ? undefined : Number(before),
    field,
    at: at === undefined ? undefined : atOf(at),
    ...(signal ? { signal } : {}),
  })
  return steps.map(step => lineageEntry(served, step))
}

/** @param names of the views. Default: those asked for */
async function readRows(
  reads: Reads,
  requests: readonly RowRequest[],
  options: ReadOptions | undefined,
  names: readonly string[] = [...new Set(requests.map(({ view }) => view))],
): Promise<Answer<readonly (AnyRow | undefined)[]>> {
  const views = names.map(name => reads.view(name).live)
  await waitAfter(reads, views, options)
  const at = options?.at
  const past = at !== undefined
  options?.signal?.throwIfAborted()
  const read = past
    ? await reads.readPast(requests, atOf(at), undefined, options?.signal && { signal: options.signal })
    : await readNow(reads, requests, views, options)
  const value = read.rows.map((row, n) => copyRow(reads.view(requests[n]!.view).live, row))
  const { position, ageMs, final } = reads.freshness(views, { ...read, past })
  const answer = { value, position: position as Position, ageMs, final }
  return options?.sources ? { ...answer, sources: await reads.sourcePositions(views, read.position) } : answer
}

/** Waits for the tokens of a read, if it has any. */
async function waitAfter(reads: Reads, views: readonly LiveView[], options: ReadOptions | undefined): Promise<void> {
  const after = options?.after === undefined ? [] : typeof options.after === 'string' ? [options.after] : options.after
  if (options?.at !== undefined && after.length > 0)
    throw fail('REQUEST_INVALID', "'at' and 'after' exclude each other", {
      hint: 'the past does not change: give one of them',
    })
  if (options?.at !== undefined && options.maxAgeMs !== undefined)
    throw fail('REQUEST_INVALID', "'at' and 'maxAgeMs' exclude each other", {
      hint: 'the past has no age: give one of them',
    })
  await reads.wait({ after, timeoutMs: options?.timeoutMs, signal: options?.signal }, views)
}

function readNow(
  reads: Reads,
  requests: readonly RowRequest[],
  views: readonly LiveView[],
  { maxAgeMs, timeoutMs, signal }: ReadOptions = {},
): CutRead | Promise<CutRead> {
  const read = () => reads.read(requests, undefined)
  if (maxAgeMs === undefined) return read()
  return reads.readYoung(read, views, {
    maxAgeMs,
    ...(timeoutMs === undefined ? {} : { waitMs: timeoutMs }),
    ...(signal ? { signal } : {}),
  })
}

const copyRow = (live: LiveView, row: AnyRow | undefined): AnyRow | undefined =>
  row === undefined ? undefined : (copyValue(live.value, row) as AnyRow)

/** Rows in order; nothing is read before a page, or the first row, is asked for. */
function localRows(reads: Reads, view: string, range: RangeQuery, options: RowsOptions): Rows<unknown, AnyRow> {
  const { order, limit, at } = options
  const query = order === undefined ? range : { ...range, order }
  return rowsByPage({
    limit,
    page: (cursor, most) =>
      readPage(reads, view, cursor === undefined ? query : { ...query, cursor }, { ...options, most }),
    past: at === undefined ? undefined : most => pastRows(reads, view, query, atOf(at), { ...options, most }),
  })
}

interface PageOptions extends RowsOptions {
  /** Rows of the page, or in all. */
  readonly most: number
}

async function readPage(
  reads: Reads,
  view: string,
  query: RangeQuery,
  options: PageOptions,
): Promise<Page<unknown, AnyRow>> {
  const { live } = reads.view(view)
  await waitAfter(reads, [live], options)
  const { timeoutMs, signal, maxAgeMs, most } = options
  signal?.throwIfAborted()
  const at = options.at === undefined ? undefined : atOf(options.at)
  const age =
    maxAgeMs === undefined ? undefined : { maxAgeMs, ...(timeoutMs === undefined ? {} : { waitMs: timeoutMs }) }
  const read = await readRange(reads, live, query, { most, at, timeoutMs, age, signal }, undefined)
  const { position, ageMs, final } = reads.freshness([live], read)
  return {
    value: read.rows.map(row => entryOf(live, row)),
    position: position as Position,
    ageMs,
    final,
    ...(read.cursor === null ? {} : { cursor: read.cursor }),
    ...(options.sources ? { sources: await reads.sourcePositions([live], read.position) } : {}),
  }
}

/** From one fold, whatever their number. */
async function* pastRows(
  reads: Reads,
  view: string,
  query: RangeQuery,
  at: At,
  options: PageOptions,
): AsyncGenerator<Entry<unknown, AnyRow>> {
  const { live } = reads.view(view)
  await waitAfter(reads, [live], options)
  const { signal, most } = options
  const { range } = planRange(live, query)
  const rows = await reads.engine.past.rangeRows(live.name, range, at, signal && { signal })
  try {
    let left = most
    for await (const batch of rows)
      for (const row of batch) {
        if (left-- === 0) return
        yield entryOf(live, row)
      }
  } finally {
    rows.close()
  }
}

const entryOf = (live: LiveView, { key, value }: ViewRow): Entry<unknown, AnyRow> => ({
  key: copyValue(keyType(live), key),
  value: copyValue(live.value, value) as AnyRow,
})
