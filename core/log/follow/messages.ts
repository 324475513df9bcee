// What a log and those that follow it from another thread say to each other: plain data.
//
// The log says how it differs from what it said last, in order, at most FOLLOW_WINDOW messages ahead of what the follower has
// seen; what changes meanwhile goes into the next one. A message is applied between two turns of the event loop. The follower says which files it
// has let go: what it was told of is not removed before that.
import type { Channel } from '../../channel.ts'
import type { LogBase } from '../log.ts'
import type { AnySegment } from '../recovery.ts'
import { SealedSegment } from '../sealed/sealed-segment.ts'
import type { IndexEntry } from '../segment.ts'
import type { StoredTopic } from '../versions.ts'

/** What is known of a hot segment without reading it: see `Segment`. */
export interface HotFacts {
  readonly kind: 'hot'
  readonly first: number
  readonly last: number
  readonly bytes: number
  readonly header: Uint8Array
  readonly index: readonly IndexEntry[]
}

/** What is known of a sealed one: see `SealedSegment`. */
export interface SealedFacts {
  readonly kind: 'sealed'
  readonly first: number
  readonly last: number
  readonly bytes: number
  readonly generation: number
  readonly format: number
  readonly seed: number
}

export type SegmentFacts = HotFacts | SealedFacts

/** How the newest segment that was told of has grown since. */
export interface Growth {
  readonly last: number
  readonly bytes: number
  /** Entries that its index got. */
  readonly index: readonly IndexEntry[]
  /** The blocks that came, as they are stored, where they are few: else they are read from the file. */
  readonly blocks: Uint8Array | undefined
}

/** What a follower is told: first of all that there is, then what is new. Applied in the order of these fields. */
export interface LogChanges {
  /** With the first one only. */
  readonly log?: { readonly id: string; readonly epoch: number; readonly folder: string }
  readonly topics?: readonly StoredTopic[]
  readonly grown?: Growth
  /** A cleaning: these segments stand for all up to its end. */
  readonly base?: LogBase & { readonly segments: readonly SegmentFacts[] }
  /** Others that are new: behind those that are known, or a sealed one in the place of the hot one that begins where it does. */
  readonly segments?: readonly SegmentFacts[]
  /** Of the question that this answers: it says all that there was when it came. */
  readonly answers?: number
}

/** What a follower says. */
export interface FollowerNews {
  /** So many messages more were seen. */
  readonly seen?: number
  /** Names of files that it does not open any more. */
  readonly released?: readonly string[]
  /** The number of a question for what is new now. */
  readonly asks?: number
}

/** The log's end of the channel; that of its follower. */
export type FollowChannel = Channel<LogChanges, FollowerNews>
export type FollowerChannel = Channel<FollowerNews, LogChanges>

export function factsOf(segment: AnySegment): SegmentFacts {
  const { first, last, bytes } = segment
  if (segment instanceof SealedSegment) {
    const { generation, format, seed } = segment
    return { kind: 'sealed', first, last, bytes, generation, format, seed }
  }
  return { kind: 'hot', first, last, bytes, header: Uint8Array.from(segment.header), index: [...segment.index] }
}
