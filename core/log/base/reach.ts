// What a cleaning is asked for, what of it can be done now, and what would come of it: pure, for the one that does it (cleaner.ts)
// and for the one that only looks (tools/estimate.ts).
import { fail } from '../../errors.ts'
import { ACTIONS_TOPIC, CONTROL_TOPIC, SOURCE_EVENTS_TOPIC, VIEWS_TOPIC } from '../control-topic.ts'
import type { CleanReport, CleanRequest } from '../log.ts'
import type { AnySegment } from '../recovery.ts'
import type { TopicEntry, Topics } from '../topics.ts'
import type { CleaningPlan } from './plan.ts'
import { recordsIn } from './source-blocks.ts'

export type Horizons = ReadonlyMap<TopicEntry, number>

/** Says that somebody needs what comes after a position. */
export interface Held {
  readonly name: string
  readonly position: number
}

const KEPT: ReadonlySet<string> = new Set([CONTROL_TOPIC, SOURCE_EVENTS_TOPIC, VIEWS_TOPIC, ACTIONS_TOPIC])

/** By topic. @throws TOPIC_UNKNOWN, REQUEST_INVALID */
export function horizonsIn(
  topics: Topics,
  asked: Readonly<Record<string, number>> | undefined,
  kind: 'topic' | 'table',
): Horizons {
  const horizons = new Map<TopicEntry, number>()
  for (const [name, position] of Object.entries(asked ?? {})) {
    const topic = topics.find(name)
    if (!topic) throw fail('TOPIC_UNKNOWN', `the log has no topic '${name.slice(0, 100)}'`)
    if (topic.stored.kind !== kind || KEPT.has(name)) {
      throw fail('REQUEST_INVALID', kind === 'topic' ? `${name} cannot be trimmed` : `${name} cannot be compacted`, {
        detail: kind === 'topic' ? 'only topics of events are trimmed' : 'only tables are compacted',
      })
    }
    if (!(position >= 0)) throw fail('REQUEST_INVALID', `${position} is not a position`)
    horizons.set(topic, Math.floor(position))
  }
  return horizons
}

/** Up to where a cleaning may go. */
export interface Reach {
  readonly segments: readonly AnySegment[]
  /** End of the last of them; 0 where nothing can be cleaned. */
  readonly to: number
  readonly limitedBy: CleanReport['limitedBy']
}

/**
 * The closed segments up to where a cleaning may go.
 * @param live all segments; the last one is appended to
 * @param baseTo where the base ends: a cleaning never goes less far
 */
export function reachOf(
  live: readonly AnySegment[],
  baseTo: number,
  held: Iterable<Held>,
  { to = Number.POSITIVE_INFINITY, force = false }: CleanRequest,
): Reach {
  let limitedBy: CleanReport['limitedBy']
  let most = to
  for (const { name, position } of force ? [] : held) {
    if (position >= most) continue
    most = position
    limitedBy = { name, position }
  }
  const closed = live.slice(0, -1)
  const segments = closed.filter(({ last }) => last <= most)
  if (segments.length === closed.length) limitedBy = undefined
  const reached = segments.at(-1)?.last ?? 0
  return reached < baseTo ? { segments: [], to: 0, limitedBy } : { segments, to: reached, limitedBy }
}

export function planOf(topics: Topics, to: number, trim: Horizons, compact: Horizons): CleaningPlan {
  const ids = (horizons: Horizons) => [...horizons].map(([{ id }, at]) => [id, Math.min(at, to)] as const)
  const control = topics.find(CONTROL_TOPIC)
  // What sources say of themselves is state, not history: only the last word of each is asked for.
  return {
    to,
    trim: new Map(ids(trim)),
    compact: new Map([...ids(compact), ...(control ? [[control.id, to] as const] : [])]),
  }
}

export interface Figures {
  readonly records: number
  readonly bytes: number
}

export async function figuresOf(segments: readonly AnySegment[]): Promise<Figures> {
  let records = 0
  for (const segment of segments) records += await recordsIn(segment)
  return { records, bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0) }
}

/**
 * What would be left: bytes in proportion to records, as the files are now. Rows are packed when a segment that is not sealed yet is
 * rewritten, so that less may be left.
 * @param gone of each segment: records that would go
 */
export async function figuresWithout(segments: readonly AnySegment[], gone: readonly number[]): Promise<Figures> {
  let records = 0
  let bytes = 0
  for (const [n, segment] of segments.entries()) {
    const all = await recordsIn(segment)
    const left = all - (gone[n] ?? 0)
    records += left
    bytes += all === 0 ? segment.bytes : Math.round((segment.bytes * left) / all)
  }
  return { records, bytes }
}
