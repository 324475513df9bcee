// The typed client inside of the application's own process: the same reads as over HTTP, without the wire. Types come
// from the application's own views.
import { type AnyRow, fail, type Position, type Show } from '../core/index.ts'
import type { Application, LiveView, RowRequest, View } from '../projections/index.ts'
import { type AtOption, atOf } from './at.ts'
import { copyValue } from './json-writer.ts'
import { KEYS_MAX, LINEAGE_DEFAULT, LINEAGE_MAX } from './limits.ts'
import { checkField, type LineageEntry, lineageEntry } from './lineage.ts'
import type { Reads, SourcePositions } from './reads.ts'
import type { KeyRange, Rows, RowsOptions } from './rows.ts'
import { tryBeforeWait } from './waits.ts'

/** A value, and what is known of it. */
export interface Answer<T> {
  readonly value: T
  /** The place in the log that the value is of. */
  readonly position: Position
  /** Milliseconds for which changes may have happened that are not in it; null while not known, and of the past. */
  readonly ageMs: number | null
  /** False while a source's snapshot is not complete: rows may be missing. */
  readonly final: boolean
  /** Where asked for: of each source that reaches what was read, up to where it is in the cut (an LSN, a GTID). */
  readonly sources?: SourcePositions
}

export interface ReadOptions {
  /** Tokens to wait for: what `append` or `writeToken` gave. */
  readonly after?: string | readonly string[]
  /** How long to wait for them, milliseconds. Default 5,000. */
  readonly timeoutMs?: number
  /**
   * Read the past: a position, a time (of appending), or a savepoint. The answer is as of the last transaction that had ended
   * there. Not together with `after`. Default: the present.
   */
  readonly at?: AtOption
  /** The answer says up to where each source is in it. Default false. */
  readonly sources?: boolean
}

export interface LineageQuery<V> {
  /** Most steps to give, 1 to 1,000. Default 100. */
  readonly limit?: number
  /** Only records before this position: that of the last step of the page before. */
  readonly before?: Position
  /** Only records that changed this field. */
  readonly field?: keyof V & string
  /** The last place in the log that is looked at. Default: the present. */
  readonly at?: AtOption
}

export interface ViewClient<K, V, W = unknown> {
  /**
   * One row; `value` is undefined where it is absent. The value is a copy.
   * @throws NOT_REACHED when the time is up; TOKEN_MALFORMED, TOKEN_OTHER_LOG, KEY_INVALID, VIEW_STOPPED, VIEW_REBUILDING; with
   * `at`: AT_MALFORMED, AT_AHEAD, AT_GONE where history was removed, AT_TOO_FAR, SAVEPOINT_UNKNOWN, STATE_TOO_LARGE
   */
  get(key: K, options?: ReadOptions): Promise<Answer<V | undefined>>
  /** Several rows at one cut, at most 1,000: a value or undefined for each key, in order. @throws as `get` */
  lookup(keys: readonly K[], options?: ReadOptions): Promise<Answer<readonly (V | undefined)[]>>
  /** Rows by their keys, in the order of keys: `range({ from: 1, to: 100 })`. */
  range(range?: KeyRange<K>, options?: RowsOptions): Rows<K, V>
  /**
   * Rows by what a declared index serves, in the order of its fields and then of keys:
   * `where({ city: 'Bern', open_cents: { gte: 100 } })`. Where several serve it, the one declared first does.
   */
  where(where: W, options?: RowsOptions): Rows<K, V>
  /** The records that made a row, through other views too, and what each did to it; newest first. @throws as `get` with `at` */
  lineage(key: K, query?: LineageQuery<V>): Promise<readonly LineageEntry<V>[]>
}

type ViewsOf<A> = A extends Application<string, infer V> ? V[number] : never
type Types<V extends View> = V['~view']
type Reading<A> = { [V in ViewsOf<A> as V['name']]: readonly [V['name'], Types<V>['key']] }[ViewsOf<A>['name']]
type ReadsOf<A> = Readonly<Record<string, Reading<A>>>
type Read<A, T> = T extends readonly [infer N, unknown]
  ? Types<Extract<ViewsOf<A>, { name: N }>>['value'] | undefined
  : never

/** The views of an application, typed by its own definition. */
export interface Client<A> {
  readonly views: {
    readonly [V in ViewsOf<A> as V['name']]: ViewClient<Types<V>['key'], Types<V>['value'], Types<V>['where']>
  }
  /** Several rows of several views at one cut: `client.read({ account: ['accounts', 42], bill: ['bills', 7n] })`. @throws as `get` */
  read<const R extends ReadsOf<A>>(
    reads: R,
    options?: ReadOptions,
  ): Promise<Answer<Show<{ [N in keyof R]: Read<A, R[N]> }>>>
}

/** A client of the application that runs in this process. */
export function createLocalClient<A>(reads: Reads): Client<A> {
  const views = Object.fromEntries([...reads.engine.views.keys()].map(name => [name, createViewClient(reads, name)]))
  const read = async (wanted: Readonly<Record<string, readonly [string, unknown]>>, options?: ReadOptions) => {
    const requests = Object.values(wanted).map(([view, key]) => ({ view, key }))
    const { value: rows, ...rest } = await readRows(reads, requests, options)
    return { value: Object.fromEntries(Object.keys(wanted).map((label, n) => [label, rows[n]])), ...rest }
  }
  return { views, read } as unknown as Client<A>
}

function createViewClient(reads: Reads, view: string): Omit<ViewClient<unknown, AnyRow>, 'range' | 'where'> {
  return {
    get: async (key, options) => {
      const { value: rows, ...rest } = await readRows(reads, [{ view, key }], options)
      return { value: rows[0], ...rest }
    },
    lookup: async (keys, options) => {
      if (keys.length > KEYS_MAX)
        throw fail('REQUEST_INVALID', `${keys.length} keys are too many`, { hint: `at most ${KEYS_MAX} at a time` })
      const requests = keys.map(key => ({ view, key }))
      return readRows(reads, requests, options, [view])
    },
    lineage: (key, query = {}) => readLineage(reads, view, key, query),
  }
}

async function readLineage(
  reads: Reads,
  view: string,
  key: unknown,
  { limit = LINEAGE_DEFAULT, before, field, at }: LineageQuery<AnyRow>,
): Promise<readonly LineageEntry<AnyRow>[]> {
  const served = reads.view(view)
  if (field !== undefined) checkField(served, field)
  if (!Number.isInteger(limit) || limit < 1 || limit > LINEAGE_MAX)
    throw fail('REQUEST_INVALID', `a limit of ${limit} is not valid`, { hint: `1 to ${LINEAGE_MAX}` })
  const { steps } = await reads.engine.past.lineage(view, key, {
    limit,
    before: before === undefined ? undefined : Number(before),
    field,
    at: at === undefined ? undefined : atOf(at),
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
  const after = options?.after === undefined ? [] : typeof options.after === 'string' ? [options.after] : options.after
  if (options?.at !== undefined && after.length > 0)
    throw fail('REQUEST_INVALID', "'at' and 'after' exclude each other", {
      hint: 'the past does not change: give one of them',
    })
  if (after.length > 0) {
    for (const view of views) tryBeforeWait(() => view.check())
    await reads.wait(options?.timeoutMs === undefined ? { after } : { after, timeoutMs: options.timeoutMs })
  }
  const at = options?.at
  const past = at !== undefined
  const read = past ? await reads.engine.past.read(requests, atOf(at)) : await reads.read(requests)
  const value = read.rows.map((row, n) => copyRow(reads.view(requests[n]!.view).live, row))
  const { position, ageMs, final } = reads.freshness(views, { ...read, past })
  const answer = { value, position: position as Position, ageMs, final }
  return options?.sources ? { ...answer, sources: await reads.sourcePositions(views, read.position) } : answer
}

const copyRow = (live: LiveView, row: AnyRow | undefined): AnyRow | undefined =>
  row === undefined ? undefined : (copyValue(live.value, row) as AnyRow)
