// The typed client inside of the application's own process: the same reads as over HTTP, without the wire. Types come
// from the application's own views.
import { type AnyRow, fail, type Position, type Show } from '../core/index.ts'
import type { Application, LiveView, RowRequest, View } from '../projections/index.ts'
import { copyValue } from './json-writer.ts'
import { KEYS_MAX } from './limits.ts'
import type { Reads } from './reads.ts'
import { tryBeforeWait } from './waits.ts'

/** A value, and what is known of it. */
export interface Answer<T> {
  readonly value: T
  /** The place in the log that the value is of. */
  readonly position: Position
  /** Milliseconds for which changes may have happened that are not in it; null while not known. */
  readonly ageMs: number | null
  /** False while a source's snapshot is not complete: rows may be missing. */
  readonly final: boolean
}

export interface ReadOptions {
  /** Tokens to wait for: what `append` or `writeToken` gave. */
  readonly after?: string | readonly string[]
  /** How long to wait for them, milliseconds. Default 5,000. */
  readonly timeoutMs?: number
}

export interface ViewClient<K, V> {
  /**
   * One row; `value` is undefined where it is absent. The value is a copy.
   * @throws NOT_REACHED when the time is up; TOKEN_MALFORMED, TOKEN_OTHER_LOG, KEY_INVALID, VIEW_STOPPED, VIEW_REBUILDING
   */
  get(key: K, options?: ReadOptions): Promise<Answer<V | undefined>>
  /** Several rows at one cut, at most 1,000: a value or undefined for each key, in order. @throws as `get` */
  lookup(keys: readonly K[], options?: ReadOptions): Promise<Answer<readonly (V | undefined)[]>>
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
  readonly views: { readonly [V in ViewsOf<A> as V['name']]: ViewClient<Types<V>['key'], Types<V>['value']> }
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

function createViewClient(reads: Reads, view: string): ViewClient<unknown, AnyRow> {
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
  }
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
  if (after.length > 0) {
    for (const view of views) tryBeforeWait(() => view.check())
    await reads.wait(options?.timeoutMs === undefined ? { after } : { after, timeoutMs: options.timeoutMs })
  }
  const read = await reads.read(requests)
  const value = read.rows.map((row, n) => copyRow(reads.view(requests[n]!.view).live, row))
  const { position, ageMs, final } = reads.freshness(views, read)
  return { value, position: position as Position, ageMs, final }
}

const copyRow = (live: LiveView, row: AnyRow | undefined): AnyRow | undefined =>
  row === undefined ? undefined : (copyValue(live.value, row) as AnyRow)
