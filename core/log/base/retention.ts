// Runs cleanings by itself, where topics say how much history they keep, and when it pays: a cleaning reads and writes all that it
// changes, so much has to come of it, but where the log is short of room: then each byte pays. Asked when a segment was closed,
// once a minute, and more often without room. What it removes is closed: so it has a segment closed in which something is too old.
import { checkRetain, type Retain } from '../../contract/index.ts'
import type { CleanRequest } from '../log.ts'
import type { AnySegment } from '../recovery.ts'
import { Reruns } from '../reruns.ts'
import { hotBlocks } from '../sealed/seal-job.ts'
import { SealedSegment } from '../sealed/sealed-segment.ts'
import type { Segment } from '../segment.ts'
import type { TopicEntry } from '../topics.ts'
import { Ageing } from './ageing.ts'
import type { Cleaner } from './cleaner.ts'
import { type SourceParts, storedRecords } from './source-blocks.ts'

const INTERVAL_MS = 60_000
/** Trimming pays where this part of the topics' bytes goes. */
const TRIMMED_SHARE_MIN = 0.25
/** Or where events are so many times as old as they are to become: at most twice in that time, whatever it costs. */
const OVERDUE = 1.5
/** Segments are closed for their age while there are fewer closed ones that are this small a part of a full one: not ever more files. */
const SMALL_SHARE = 1 / 64
const SMALL_FILES_MAX = 16

/** A part of a segment: what it has of each topic, by number. */
interface Portion {
  readonly first: number
  readonly last: number
  /** Newest append time. */
  readonly timeMs: number
  readonly records: ReadonlyMap<number, number>
  readonly bytes: ReadonlyMap<number, number>
}

export interface RetentionParts extends SourceParts {
  readonly cleaner: Cleaner
  readonly clock: () => number
  /** The segment that is appended to, and its end, so that it can be cleaned. */
  readonly active: () => Segment
  readonly endSegment: (first: number) => Promise<void>
  readonly segmentBytesMax: number
  /** Between two looks while the log is short of room. */
  readonly pressedIntervalMs: number
  /** Resolves when nothing waits to be sealed. */
  readonly sealed: () => Promise<void>
}

export class Retention {
  readonly #parts: RetentionParts
  readonly #portions = new WeakMap<AnySegment, Promise<readonly Portion[]>>()
  #policies: ReadonlyMap<string, Retain> = new Map()
  // What fails was said by an event; the next minute tries again.
  readonly #reruns = new Reruns(
    () => this.#look(),
    () => {
      this.#failed = true
    },
  )
  #timer: NodeJS.Timeout | undefined
  readonly #ageing: Ageing
  #pressedTimer: NodeJS.Timeout | undefined
  /** The last cleaning failed: not tried again before the minute is over. */
  #failed = false
  /** The last request of which nothing came, as text. */
  #fruitless = ''

  constructor(parts: RetentionParts) {
    this.#parts = parts
    this.#ageing = new Ageing(parts)
  }

  /** From now on: topic → what is kept of it. */
  set(policies: Readonly<Record<string, Retain>>): void {
    for (const [name, retain] of Object.entries(policies)) checkRetain(name, retain)
    this.#policies = new Map(Object.entries(policies))
    clearInterval(this.#timer)
    if (this.#policies.size === 0) return
    this.#timer = setInterval(() => {
      this.#failed = false
      this.wake()
    }, INTERVAL_MS)
    this.#timer.unref()
    this.wake()
  }

  /** Called when there may be something to do. */
  wake(): void {
    if (this.#policies.size > 0) this.#reruns.wake()
  }

  /** The log is short of room, or no longer: while it is, all goes that may go, as soon as views and mirrors let it. */
  pressed(isPressed: boolean): void {
    clearInterval(this.#pressedTimer)
    this.#pressedTimer = undefined
    if (!isPressed || this.#reruns.stopped) return
    this.#pressedTimer = setInterval(() => {
      if (!this.#failed) this.wake()
    }, this.#parts.pressedIntervalMs)
    this.#pressedTimer.unref()
    this.wake()
  }

  /** Resolves when it has done what can be done now. */
  idle(): Promise<void> {
    return this.#reruns.idle()
  }

  stop(): Promise<void> {
    clearInterval(this.#timer)
    clearInterval(this.#pressedTimer)
    return this.#reruns.stop()
  }

  async #look(): Promise<void> {
    await this.#endOld()
    await this.#parts.sealed()
    const request = await this.#request()
    if (request && !this.#reruns.stopped) await this.#clean(request)
  }

  async #clean(request: CleanRequest): Promise<void> {
    const { cleaner } = this.#parts
    const { generation } = cleaner.base
    const text = JSON.stringify([generation, cleaner.reach({}).to, request])
    if (text === this.#fruitless) return
    await cleaner.clean(request)
    this.#fruitless = cleaner.base.generation === generation ? text : ''
  }

  /** Closes the newest segment, if something in it is too old. */
  async #endOld(): Promise<void> {
    const { topics, clock, active, endSegment, cleaner, segmentBytesMax } = this.#parts
    const now = clock()
    const before = [...this.#policies].flatMap(([name, { ms }]) => {
      const topic = topics.find(name)
      return topic && ms !== undefined ? [[topic.id, now - ms] as const] : []
    })
    if (before.length === 0) return
    const { to } = cleaner.base
    const closed = cleaner.reach({ force: true }).segments.filter(({ first }) => first > to)
    if (closed.filter(({ bytes }) => bytes < segmentBytesMax * SMALL_SHARE).length >= SMALL_FILES_MAX) return
    const segment = active()
    if (!this.#reruns.stopped && (await this.#ageing.has(segment, new Map(before)))) await endSegment(segment.first)
  }

  /** What pays to be cleaned now. */
  async #request(): Promise<CleanRequest | undefined> {
    const { topics, cleaner, segmentBytesMax } = this.#parts
    const portions: Portion[] = []
    for (const segment of cleaner.reach({}).segments) portions.push(...(await this.#portionsOf(segment)))
    const trim: Record<string, number> = {}
    const compact: Record<string, number> = {}
    const trimmed = { gone: 0, all: 0, overdue: false }
    const compacted = { clean: 0, dirty: 0 }
    for (const [name, retain] of this.#policies) {
      const topic = topics.find(name)
      const horizon = topic ? this.#horizon(topic, retain, portions) : 0
      if (!topic || horizon === 0) continue
      const done = cleaner.base.topics.get(name)
      if (topic.stored.kind === 'topic') {
        trim[name] = horizon
        trimmed.gone += sumOf(portions, ({ last, bytes }) => (last <= horizon ? bytes.get(topic.id) : 0))
        trimmed.all += sumOf(portions, ({ bytes }) => bytes.get(topic.id))
        trimmed.overdue ||= this.#isOverdue(topic, retain, portions)
      } else {
        compact[name] = horizon
        const to = done?.compactedTo ?? 0
        compacted.clean += sumOf(portions, ({ last, records }) => (last <= to ? records.get(topic.id) : 0))
        compacted.dirty += sumOf(portions, ({ last, records }) =>
          last > to && last <= horizon ? records.get(topic.id) : 0,
        )
      }
    }
    const trims = trimmed.gone >= Math.max(segmentBytesMax, trimmed.all * TRIMMED_SHARE_MIN)
    const compacts = compacted.dirty > 0 && compacted.dirty >= compacted.clean
    if (trims || compacts || (this.#isPressed && trimmed.gone + compacted.dirty > 0)) return { trim, compact }
    return trimmed.overdue ? { trim } : undefined
  }

  get #isPressed(): boolean {
    return this.#pressedTimer !== undefined
  }

  #isOverdue({ id }: TopicEntry, { ms }: Retain, portions: readonly Portion[]): boolean {
    if (ms === undefined) return false
    const before = this.#parts.clock() - ms * OVERDUE
    return portions.some(({ timeMs, bytes }) => timeMs < before && (bytes.get(id) ?? 0) > 0)
  }

  /** Position up to which a topic's history is too old, or too much; 0 where none is. */
  #horizon({ id }: TopicEntry, { ms, bytes }: Retain, portions: readonly Portion[]): number {
    const before = ms === undefined ? Number.NEGATIVE_INFINITY : this.#parts.clock() - ms
    let left = bytes ?? Number.POSITIVE_INFINITY
    // Append times never fall: the newest portion that is too old says it for all before.
    for (const portion of portions.toReversed()) {
      left -= portion.bytes.get(id) ?? 0
      if (portion.timeMs < before || left < 0) return portion.last
    }
    return 0
  }

  #portionsOf(segment: AnySegment): Promise<readonly Portion[]> {
    let known = this.#portions.get(segment)
    if (!known) {
      known =
        segment instanceof SealedSegment ? sealedPortions(this.#parts, segment) : hotPortions(this.#parts, segment)
      this.#portions.set(segment, known)
      known.catch(() => this.#portions.delete(segment))
    }
    return known
  }
}

const sumOf = (portions: readonly Portion[], value: (portion: Portion) => number | undefined): number =>
  portions.reduce((sum, portion) => sum + (value(portion) ?? 0), 0)

const add = (to: Map<number, number>, topic: number, value: number) => to.set(topic, (to.get(topic) ?? 0) + value)

/** By the directory: a topic has the share of a block's bytes that it has of its records. */
async function sealedPortions({ topics }: SourceParts, segment: SealedSegment): Promise<readonly Portion[]> {
  return (await segment.footer()).blocks.map(block => {
    const records = new Map<number, number>()
    const bytes = new Map<number, number>()
    for (const { layout, count } of block.groups) {
      const topic = topics.layout(layout)?.topic.id ?? 0
      add(records, topic, count)
      add(bytes, topic, (block.bytes * count) / block.count)
    }
    return { first: block.first, last: block.last, timeMs: block.maxTimeMs, records, bytes }
  })
}

/** By reading it once. */
async function hotPortions(
  parts: SourceParts,
  segment: Exclude<AnySegment, SealedSegment>,
): Promise<readonly Portion[]> {
  const records = new Map<number, number>()
  const bytes = new Map<number, number>()
  let timeMs = 0
  for await (const block of hotBlocks(parts.fs, segment)) {
    timeMs = block.appendTimeMs
    for (const record of storedRecords(parts.topics, block)) {
      add(records, record.topic, 1)
      add(bytes, record.topic, record.bytes)
    }
  }
  return [{ first: segment.first, last: segment.last, timeMs, records, bytes }]
}
