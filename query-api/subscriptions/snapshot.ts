// The rows with which a subscription begins, some at a time: all rows of some keys at one cut; of a range, however large, page by page,
// as fast as its client takes them, each page at a cut of its own. With a page comes what has become, up to its cut, of the rows before
// it. So after each page the client's picture is that of the page's cut, as far as it has come in the order; nothing is held for it.
import type { AnyRow } from '../../core/index.ts'
import { copyValue } from '../json-writer.ts'
import { SLICE_MS } from '../limits.ts'
import { readRange } from '../ranges.ts'
import type { Reads, ServedView } from '../reads.ts'
import type { RingChange } from './change-ring.ts'
import type { Wanted } from './selection.ts'
import type { Told, ViewHub } from './view-hub.ts'

/** Rows of a page. */
const ROWS_MAX = 256

export interface SnapshotRow {
  readonly key: unknown
  readonly value: AnyRow
}

export interface SnapshotPart {
  readonly position: number
  /** Of rows that have come: what became of them since. */
  readonly changes: readonly { readonly change: RingChange; readonly told: Told }[]
  readonly rows: readonly SnapshotRow[]
  /** Changes after the position are told. */
  readonly last: boolean
}

export interface SnapshotOptions {
  readonly reads: Reads
  readonly served: ServedView
  readonly hub: ViewHub
  readonly wanted: Wanted
  /** How long to wait for an index that is being built. */
  readonly timeoutMs: number | undefined
}

interface Read {
  readonly position: number
  /** Those that may be seen. */
  readonly rows: readonly SnapshotRow[]
  readonly cursor: string | null
  /** The entry of the last row, seen or not. */
  readonly upTo: string
}

export class Snapshot {
  readonly #options: SnapshotOptions
  #cursor: string | undefined
  #upTo = ''
  #at: number | undefined

  constructor(options: SnapshotOptions) {
    this.#options = options
  }

  /** Number of the last change that is in what was given. */
  get at(): number {
    return this.#at ?? 0
  }

  /** @returns 'overflow' where what changed since the part before is kept no more @throws as `readRange`; POLICY_FAILED */
  async next(signal?: AbortSignal): Promise<SnapshotPart | 'overflow'> {
    const { hub } = this.#options
    const { position, rows, cursor, upTo } = await this.#read(signal)
    await hub.passed(position)
    const at = hub.ring.numberAt(position)
    const changes = this.#at === undefined ? [] : await this.#changed(this.#at, at)
    if (changes === undefined) return 'overflow'
    this.#at = at
    this.#upTo = upTo
    this.#cursor = cursor ?? undefined
    return { position, changes, rows, last: cursor === null }
  }

  async #read(signal: AbortSignal | undefined): Promise<Read> {
    const { reads, served, wanted, timeoutMs } = this.#options
    const { live } = served
    const { selector, sees } = wanted.selection
    const seen = (key: unknown, value: AnyRow): SnapshotRow[] =>
      sees && !sees(value, key) ? [] : [{ key, value: copyValue(live.value, value) as AnyRow }]
    if ('keys' in wanted) {
      const requests = wanted.keys.map(key => ({ view: live.name, key }))
      // Whoever asks is known to the selection.
      const { position, rows } = await reads.read(requests, undefined)
      const there = wanted.keys.flatMap((key, n) => (rows[n] === undefined ? [] : seen(key, rows[n])))
      return { position, rows: there, cursor: null, upTo: '' }
    }
    const query = this.#cursor === undefined ? wanted.range : { ...wanted.range, cursor: this.#cursor }
    const page = await readRange(reads, live, query, { most: ROWS_MAX, timeoutMs, signal }, undefined)
    const { position, cursor } = page
    const last = page.rows.at(-1)
    const upTo = last ? selector.entryOf(live.key.encode(last.key).toString('latin1'), () => last.value) : ''
    return { position, rows: page.rows.flatMap(({ key, value }) => seen(key, value)), cursor, upTo }
  }

  /** What became of rows that have come, in turns; undefined where not all of it is kept. */
  async #changed(after: number, to: number): Promise<SnapshotPart['changes'] | undefined> {
    const { hub, wanted } = this.#options
    const changes: { readonly change: RingChange; readonly told: Told }[] = []
    let endMs = performance.now() + SLICE_MS
    for (let number = after + 1; number <= to; number++) {
      const change = hub.ring.at(number)
      if (change === undefined) return undefined
      const told = hub.told(wanted.selection, change, this.#upTo)
      if (told !== undefined) changes.push({ change, told })
      if (performance.now() < endMs) continue
      await new Promise(resolve => setImmediate(resolve))
      endMs = performance.now() + SLICE_MS
    }
    return hub.ring.holdsAfter(to) ? changes : undefined
  }
}
