// The log's side of those that follow it from other threads: tells each how the log differs from what it was told last, and keeps
// the files that it was told of until it lets them go. Relies on being told of each change (`tell`) in the turn in which it
// happens, and of a cleaning both before and after it: no follower ever hears of segments that replace some it does not know.

import { NO_BASE } from '../base/manifest.ts'
import { type StoredBlock, storedBytes } from '../block.ts'
import type { LogIdentity } from '../identity.ts'
import { FOLLOW_BLOCKS_BYTES_MAX, FOLLOW_WINDOW } from '../limits.ts'
import type { LogBase } from '../log.ts'
import type { AnySegment } from '../recovery.ts'
import { SealedSegment } from '../sealed/sealed-segment.ts'
import type { Tail } from '../tail.ts'
import type { Topics } from '../topics.ts'
import type { StoredTopic } from '../versions.ts'
import { type FollowChannel, type FollowerNews, factsOf, type Growth, type LogChanges } from './messages.ts'

interface FollowersParts {
  readonly identity: LogIdentity
  readonly folder: string
  readonly topics: Topics
  readonly tail: Tail
  /** In order; the last one is appended to. */
  readonly segments: readonly AnySegment[]
  readonly base: () => LogBase
}

/** One that follows, as the log knows it. */
export interface Following {
  /** Ends it: its readers end, and all that it kept is let go. */
  close(): void
}

export class Followers {
  readonly #parts: FollowersParts
  readonly #open = new Set<Follower>()

  constructor(parts: FollowersParts) {
    this.#parts = parts
  }

  follow(channel: FollowChannel): Following {
    const follower = new Follower(this.#parts, channel, () => this.#open.delete(follower))
    this.#open.add(follower)
    return follower
  }

  /** Tells what has changed. @param now those too that have much to hear already */
  tell(now = false): void {
    for (const follower of this.#open) follower.tell(now)
  }

  /** Ends all when the log closes. What they have not let go stays: the next start removes it. */
  close(): void {
    for (const follower of this.#open) follower.leave()
    this.#open.clear()
  }
}

class Follower implements Following {
  readonly #parts: FollowersParts
  readonly #channel: FollowChannel
  readonly #ended: () => void
  /** What it was told last. */
  #segments: readonly AnySegment[] = []
  #bytes = 0
  #indexed = 0
  #base: LogBase = NO_BASE
  #topics: readonly StoredTopic[] | undefined
  /** By name; each is held. */
  readonly #held = new Map<string, AnySegment>()
  /** Messages that it has not said to have seen. */
  #unseen = 0
  #behind = false
  #closed = false

  constructor(parts: FollowersParts, channel: FollowChannel, ended: () => void) {
    this.#parts = parts
    this.#channel = channel
    this.#ended = ended
    channel.listen(
      news => this.#hear(news),
      () => this.close(),
    )
    const { identity, folder } = parts
    const { id, epoch } = identity
    this.#say({ log: { id, epoch, folder }, ...this.#changes() })
  }

  tell(now: boolean): void {
    this.#behind = true
    if (!now && this.#unseen >= FOLLOW_WINDOW) return
    this.#behind = false
    const changes = this.#changes()
    if (Object.keys(changes).length > 0) this.#say(changes)
  }

  close(): void {
    if (this.#closed) return
    this.leave()
    for (const segment of this.#held.values()) segment.release()
    this.#held.clear()
    this.#ended()
  }

  /** Says nothing more and hears nothing more. */
  leave(): void {
    this.#closed = true
    this.#channel.close()
  }

  #say(changes: LogChanges): void {
    this.#unseen++
    const blocks = changes.grown?.blocks?.buffer
    this.#channel.post(changes, blocks instanceof ArrayBuffer ? [blocks] : [])
  }

  #hear({ seen = 0, released = [], asks }: FollowerNews): void {
    if (this.#closed) return
    this.#unseen -= seen
    for (const name of released) {
      this.#held.get(name)?.release()
      this.#held.delete(name)
    }
    if (asks !== undefined) this.#say({ ...this.#changes(), answers: asks })
    else if (this.#behind) this.tell(false)
  }

  /** What it has to be told; from now on it was. */
  #changes(): LogChanges {
    const { topics, base } = this.#parts
    const changes: { -readonly [K in keyof LogChanges]: LogChanges[K] } = {}
    const { stored } = topics
    if (stored !== this.#topics) changes.topics = stored
    this.#topics = stored
    const grown = this.#growth()
    if (grown) changes.grown = grown
    let added = this.#added()
    const newBase = base()
    if (newBase !== this.#base) {
      const { to } = newBase
      const segments = this.#segments.filter(({ first }) => first <= to).map(factsOf)
      changes.base = { ...newBase, segments }
      added = added.filter(({ first }) => first > to)
    }
    this.#base = newBase
    if (added.length > 0) changes.segments = added.map(factsOf)
    return changes
  }

  /** Takes over the list of segments; gives those that were not in it. */
  #added(): readonly AnySegment[] {
    const { segments } = this.#parts
    const before = this.#segments
    this.#note(segments[segments.length - 1]!)
    if (segments.length === before.length && segments.every((segment, n) => segment === before[n])) return []
    this.#segments = [...segments]
    const known = new Set(before)
    const added = segments.filter(segment => !known.has(segment))
    for (const segment of added) {
      this.#held.set(segment.name, segment)
      segment.hold()
    }
    return added
  }

  #note(newest: AnySegment): void {
    this.#bytes = newest.bytes
    this.#indexed = newest instanceof SealedSegment ? 0 : newest.index.length
  }

  /** Of the segment that was the newest when it was told last: it is the only one that can have grown. */
  #growth(): Growth | undefined {
    const segment = this.#segments.at(-1)
    if (!segment || segment instanceof SealedSegment || segment.bytes === this.#bytes) return undefined
    const { last, bytes, index } = segment
    const few = bytes - this.#bytes <= FOLLOW_BLOCKS_BYTES_MAX
    const blocks = few ? this.#parts.tail.from(segment, this.#bytes, FOLLOW_BLOCKS_BYTES_MAX) : undefined
    return { last, bytes, index: index.slice(this.#indexed), blocks: blocks && joined(blocks) }
  }
}

/** In memory of its own, which can be given away. */
function joined(blocks: readonly StoredBlock[]): Uint8Array {
  const all = Buffer.allocUnsafeSlow(blocks.reduce((sum, { bytes }) => sum + bytes, 0))
  let at = 0
  for (const block of blocks) at += storedBytes(block).copy(all, at)
  return all
}
