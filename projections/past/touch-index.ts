// The touch index: key of a view → positions of the records that go there, for what a view folds of the log itself. It is built
// when first asked for, up to the position asked for, by one scan for all views that lack it; full parts are files, the
// rest is in memory. A cache: it may be deleted at any time, and what the log lost since is passed over by who reads.
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import {
  type AnyRow,
  CONTROL_TOPIC,
  enterHandlers,
  type FileSystem,
  type Log,
  leaveHandlers,
  type RecordCursor,
  type SourceTable,
  VIEWS_TOPIC,
} from '../../core/index.ts'
import type { InputKey, Route } from '../route.ts'
import type { FoldedView } from '../view.ts'
import { readViewControl } from '../view-control.ts'
import { atTooFar } from './errors.ts'
import type { Pace } from './pace.ts'
import { OpenPart, PART_POSITIONS_MAX, StoredPart } from './touch-part.ts'

const RECORDS_PER_CLOCK_LOOK = 256
const POSITION_DIGITS = 16
const FILE = /^(.+)\.(\d{16})\.touches$/
/** What the files may take, if that is more than the log itself. */
const BYTES_MAX_LEAST = 256 * 1024 * 1024

/** Where control records of sources stand: indexed like a view, under one hash. */
export const CONTROL_TOUCHES = CONTROL_TOPIC
export const CONTROL_HASH = 0

/** Under which a view has the records that call again what it skipped: they may be for any key. */
export const REDRIVE_HASH = 0xffffffff

/** The index of one view. */
interface Touches {
  readonly name: string
  readonly identity: Buffer
  /** Undefined of control records. */
  readonly view: FoldedView | undefined
  readonly parts: StoredPart[]
  open: OpenPart
  /** Position up to which it goes. */
  to: number
  usedMs: number
}

/** What goes from one topic to one view. */
interface Feed {
  readonly touches: Touches
  readonly direct: readonly Route[]
  readonly changes: readonly Route[]
}

export interface TouchIndexOptions {
  readonly log: Log
  /** Models of the views: nothing is folded into them. */
  readonly views: readonly FoldedView[]
  readonly fs: FileSystem
  readonly path: string
  readonly fingerprint: string
  /** Positions of one file. Default 2^20, which is the most. */
  readonly partPositionsMax?: number
}

export class TouchIndex {
  readonly #log: Log
  readonly #fs: FileSystem
  readonly #path: string
  readonly #partPositionsMax: number
  readonly #touches = new Map<string, Touches>()
  readonly #feeds = new Map<string, Feed[]>()
  #opened: Promise<void> | undefined
  /** One scan at a time. */
  #scan: Promise<void> = Promise.resolve()

  constructor({ log, views, fs, path, fingerprint, partPositionsMax }: TouchIndexOptions) {
    this.#log = log
    this.#fs = fs
    this.#path = path
    this.#partPositionsMax = partPositionsMax ?? PART_POSITIONS_MAX
    const add = (name: string, view: FoldedView | undefined): Touches => {
      const identity = createHash('sha256').update(`${fingerprint} ${log.id} ${name}`).digest().subarray(0, 16)
      const touches: Touches = { name, identity, view, parts: [], open: this.#part(0), to: 0, usedMs: 0 }
      this.#touches.set(name, touches)
      return touches
    }
    for (const view of views) this.#connect(view, add(view.name, view))
    this.#feeds.set(CONTROL_TOPIC, [{ touches: add(CONTROL_TOUCHES, undefined), direct: [], changes: [] }])
  }

  #part(after: number): OpenPart {
    return new OpenPart(after, this.#partPositionsMax)
  }

  #connect(view: FoldedView, touches: Touches): void {
    const byTopic = new Map<string, { direct: Route[]; changes: Route[] }>()
    for (const [n, { input }] of view.definition.ons.entries()) {
      if (input.kind === 'projection') continue
      const isChanges = input.kind === 'changes'
      const topic = isChanges ? (input as unknown as { table: SourceTable }).table.name : input.name
      const routes = byTopic.get(topic) ?? { direct: [], changes: [] }
      byTopic.set(topic, routes)
      routes[isChanges ? 'changes' : 'direct'].push(view.routes[n]!)
    }
    // What folds only other views has no records of its own.
    if (byTopic.size === 0 && view.deadLetters === undefined) touches.to = Number.POSITIVE_INFINITY
    for (const [topic, routes] of byTopic)
      this.#feeds.set(topic, [...(this.#feeds.get(topic) ?? []), { touches, ...routes }])
  }

  /**
   * Positions in (after, upTo], in order and each once, of records that go to a key of one of these hashes, by view. What else
   * has such a hash is among them.
   * @throws AT_TOO_FAR where they are more than `most`
   */
  async positions(
    wanted: ReadonlyMap<string, ReadonlySet<number>>,
    { after, upTo, most }: { readonly after: number; readonly upTo: number; readonly most: number },
    pace: Pace,
  ): Promise<Float64Array> {
    await this.#cover([...wanted.keys()], upTo, pace)
    let all: Float64Array = new Float64Array(0)
    for (const [name, hashes] of wanted) {
      const skips = this.#touches.get(name)?.view?.deadLetters !== undefined
      const found = await this.#ofView(name, skips ? new Set([...hashes, REDRIVE_HASH]) : hashes, upTo, pace)
      const within = found.filter((position, n) => position > after && position <= upTo && position !== found[n - 1])
      if (all.length + within.length > most) throw atTooFar(all.length + within.length, most)
      all = all.length === 0 ? within : merged(all, within)
    }
    return all
  }

  /** Whether it goes up to a position already. */
  covers(names: Iterable<string>, upTo: number): boolean {
    for (const name of names) if (this.#touches.get(name)!.to < upTo) return false
    return true
  }

  async #ofView(name: string, hashes: ReadonlySet<number>, upTo: number, pace: Pace): Promise<Float64Array> {
    const touches = this.#touches.get(name)!
    touches.usedMs = performance.now()
    const parts = touches.parts.filter(part => part.after < upTo)
    const latest: number[] = []
    touches.open.collect(hashes, latest)
    const found: number[] = []
    for (const part of parts) {
      const from = found.length
      try {
        await part.collect(hashes, found, pace)
      } catch (error) {
        pace.check()
        await this.#forget(touches, part)
        if (!(error instanceof RangeError)) throw error
        await this.#cover([name], upTo, pace)
        return this.#ofView(name, hashes, upTo, pace)
      }
      if (hashes.size > 1) sortFrom(found, from)
      if (pace.due) await pace.rest()
    }
    return Float64Array.from(found.concat(latest))
  }

  /** A file that cannot be read is no cache: it and what follows are made anew. */
  async #forget(touches: Touches, damaged: StoredPart): Promise<void> {
    const from = touches.parts.indexOf(damaged)
    if (from < 0) return
    const gone = touches.parts.splice(from)
    touches.open = this.#part(damaged.after)
    touches.to = damaged.after
    for (const { path } of gone) await this.#fs.remove(path)
  }

  async #cover(names: readonly string[], upTo: number, pace: Pace): Promise<void> {
    this.#opened ??= this.#open()
    await this.#opened
    const lacking = () => names.map(name => this.#touches.get(name)!).filter(({ to }) => to < upTo)
    while (lacking().length > 0) {
      const scan = this.#scan.then(() => this.#extend(lacking(), upTo, pace))
      this.#scan = scan.catch(() => {})
      await scan
    }
  }

  /** Takes the files that are there, as far as they follow each other. */
  async #open(): Promise<void> {
    await this.#fs.makeFolder(this.#path)
    for (const name of [...(await this.#fs.list(this.#path))].sort()) {
      const path = join(this.#path, name)
      const touches = this.#touches.get(FILE.exec(name)?.[1] ?? '')
      const part = touches && (await StoredPart.open(this.#fs, path, touches.identity))
      if (touches && part && part.after === touches.to && part.to <= this.#log.end) {
        touches.parts.push(part)
        touches.open = this.#part(part.to)
        touches.to = part.to
      } else await this.#fs.remove(path)
    }
  }

  async #extend(lacking: readonly Touches[], upTo: number, pace: Pace): Promise<void> {
    if (lacking.length === 0) return
    const from = Math.min(...lacking.map(({ to }) => to))
    const reader = this.#log.read(from)
    let left = RECORDS_PER_CLOCK_LOOK
    const cover = (position: number) => {
      for (const touches of lacking) if (touches.to < position) touches.to = position
    }
    try {
      for (;;) {
        const blocks = await reader.ready()
        for (const block of blocks) {
          const cursor = block.records()
          while (cursor.next()) {
            const { position } = cursor
            for (const touches of lacking)
              if (touches.open.isFull(position)) await this.#store(touches, position - 1, pace)
            if (cursor.topic.name === VIEWS_TOPIC) this.#addRedrive(cursor, lacking)
            for (const feed of this.#feeds.get(cursor.topic.name) ?? [])
              if (feed.touches.to < position && lacking.includes(feed.touches)) touch(feed, cursor)
            if (--left > 0) continue
            left = RECORDS_PER_CLOCK_LOOK
            if (!pace.due) continue
            // Who asked may have gone: what is done is done.
            cover(position)
            await pace.rest()
          }
          cover(block.end)
          if (block.end >= upTo) return
        }
        if (blocks.length === 0) return cover(upTo)
        if (pace.due) await pace.rest()
      }
    } finally {
      reader.close()
    }
  }

  #addRedrive(cursor: RecordCursor, lacking: readonly Touches[]): void {
    const { view, event } = readViewControl(cursor.after()!)
    const touches = this.#touches.get(view)
    if (event !== 'redrive' || touches === undefined || !lacking.includes(touches)) return
    if (touches.to < cursor.position) touches.open.add(REDRIVE_HASH, cursor.position)
  }

  /** A part is full: it becomes a file. */
  async #store(touches: Touches, to: number, pace: Pace): Promise<void> {
    const { after } = touches.open
    const path = join(this.#path, `${touches.name}.${String(after).padStart(POSITION_DIGITS, '0')}.touches`)
    const bytes = await touches.open.encode(to, touches.identity, pace)
    const file = await this.#fs.open(`${path}.tmp`, 'create')
    try {
      await file.write([bytes], 0)
    } finally {
      await file.close()
    }
    await this.#fs.rename(`${path}.tmp`, path)
    const part = await StoredPart.open(this.#fs, path, touches.identity)
    if (!part) throw new RangeError(`${path} is not as it was written`)
    touches.parts.push(part)
    touches.open = this.#part(to)
    touches.to = Math.max(touches.to, to)
    await this.#evict(touches)
  }

  /** Keeps the files within bounds: the index that nobody has asked for the longest goes. */
  async #evict(keep: Touches): Promise<void> {
    const bytesMax = Math.max(BYTES_MAX_LEAST, this.#log.status().bytes)
    const all = [...this.#touches.values()]
    let bytes = all.reduce((sum, { parts }) => sum + parts.reduce((each, part) => each + part.bytes, 0), 0)
    for (const touches of all.sort((a, b) => a.usedMs - b.usedMs)) {
      if (bytes <= bytesMax) return
      const [first] = touches.parts
      if (touches === keep || first === undefined) continue
      bytes -= touches.parts.reduce((sum, part) => sum + part.bytes, 0)
      await this.#forget(touches, first)
    }
  }
}

function touch({ touches, direct, changes }: Feed, cursor: RecordCursor): void {
  const { view, open } = touches
  const { position, op } = cursor
  if (view === undefined) open.add(CONTROL_HASH, position)
  if (view === undefined || op === 'parked') return
  enterHandlers(view)
  try {
    const key = cursor.topic.contract.key
    for (const row of direct.length > 0 ? [cursor.lendBefore(), cursor.lendAfter()] : [])
      if (row !== null) for (const route of direct) add(touches, route, row, key, position)
    cursor.recall()
    if (changes.length === 0) return
    const [before, after] = [cursor.before(), cursor.after()]
    const inputKey = { fromRow: () => key.fromRow(after ?? before ?? {}) }
    for (const route of changes) add(touches, route, { op, before, after }, inputKey, position)
  } catch {
    // A record that its upcast cannot read: the view has stopped there.
  } finally {
    leaveHandlers()
  }
}

function add({ view, open }: Touches, route: Route, row: AnyRow, inputKey: InputKey, position: number): void {
  let found: unknown
  try {
    found = route.keysOf(row, inputKey)
  } catch {
    // It has no key: the view has stopped there, or has passed over this call.
    return
  }
  for (const key of Array.isArray(found) ? found : [found]) {
    // As above: what is no key of the view. The record's other calls were made.
    const id = key === null || key === undefined ? undefined : view!.idOf(key)
    if (id !== undefined) open.add(view!.table.keys.hashOf(id), position)
  }
}

/** Sorts what was added since `from`. */
function sortFrom(list: number[], from: number): void {
  const sorted = Float64Array.from(list.slice(from)).sort()
  for (let n = 0; n < sorted.length; n++) list[from + n] = sorted[n]!
}

/** Two ordered lists as one, each position once. */
function merged(a: Float64Array, b: Float64Array): Float64Array {
  const into = new Float64Array(a.length + b.length)
  let count = 0
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const left = i < a.length ? a[i]! : Number.POSITIVE_INFINITY
    const right = j < b.length ? b[j]! : Number.POSITIVE_INFINITY
    into[count++] = Math.min(left, right)
    if (left <= right) i++
    if (right <= left) j++
  }
  return into.subarray(0, count)
}
