// The changes of views' rows on their way out of the shards, for those who follow a view: at the end of each slice, whose
// transactions all shards have folded, in the order of the log, and within a transaction by key. Shard count does not show.
import { ByteReader, fail, type MainstemError } from '../../core/index.ts'
import type { ChangeFeeds, RowChange, ViewFollower, ViewFollowing } from '../engine.ts'
import type { Folding } from '../shards/folding.ts'
import { unknownView } from '../unknown-view.ts'
import type { FoldedView } from '../view.ts'
import { AFTER, BEFORE, type RecordedChanges } from './recorder.ts'

export interface FeedHost {
  readonly folding: Pick<Folding, 'views' | 'position' | 'feed'>
  /** Calls back at the next cut; throws where views do not go on. */
  atCut<T>(begin: () => T): Promise<Awaited<T>>
}

export class Feeds implements ChangeFeeds {
  readonly #host: FeedHost
  readonly #followers = new Map<string, Set<ViewFollower>>()

  constructor(host: FeedHost) {
    this.#host = host
  }

  async follow(name: string, follower: ViewFollower): Promise<ViewFollowing> {
    const { folding } = this.#host
    const view = folding.views.find(each => each.name === name)
    if (!view) {
      throw unknownView(
        name,
        folding.views.map(each => each.name),
      )
    }
    return this.#host.atCut(() => {
      if (view.error) throw stopped(view, view.error)
      const followers = this.#followers.get(name) ?? new Set()
      followers.add(follower)
      this.#followers.set(name, followers)
      if (followers.size === 1) this.#feed()
      return { position: folding.position, end: () => this.#end(name, follower) }
    })
  }

  #end(name: string, follower: ViewFollower): void {
    const followers = this.#followers.get(name)
    if (!followers?.delete(follower) || followers.size > 0) return
    this.#followers.delete(name)
    // Where views do not go on there is no cut, and nothing to end.
    this.#host.atCut(() => this.#feed()).catch(() => {})
  }

  #feed(): void {
    this.#host.folding.feed([...this.#followers.keys()])
  }

  /** A slice has ended, or rows were exchanged at the cut that is now. */
  passed(position: number, recorded: readonly RecordedChanges[]): void {
    for (const [name, followers] of this.#followers) {
      const parts = recorded.filter(({ view }) => view === name)
      if (parts.some(({ lost }) => lost)) {
        for (const follower of followers) follower.lost(position)
        continue
      }
      const changes = merged(parts)
      for (const follower of followers) follower.changed(changes, position)
    }
  }

  /** A view has stopped, and goes on no more. */
  stopped(view: FoldedView): void {
    const followers = this.#followers.get(view.name)
    if (!followers || !view.error) return
    this.#followers.delete(view.name)
    for (const follower of followers) follower.ended(stopped(view, view.error))
  }
}

const stopped = ({ name }: FoldedView, { code, message }: MainstemError): MainstemError =>
  fail('VIEW_STOPPED', `view '${name}' has stopped`, { detail: `${code}: ${message}` })

/** Each part is in order. */
function merged(parts: readonly RecordedChanges[]): readonly RowChange[] {
  const changes = parts.map(({ bytes }) => readChanges(bytes))
  if (changes.length < 2) return changes[0] ?? []
  return changes.flat().sort((a, b) => a.position - b.position || (a.key < b.key ? -1 : 1))
}

/** What `ChangeRecorder` has written. */
function readChanges(bytes: Uint8Array): RowChange[] {
  const reader = new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const changes: RowChange[] = []
  while (reader.at < bytes.byteLength) {
    const position = reader.varint()
    const key = part(reader).toString('latin1')
    const there = reader.tag(BEFORE | AFTER)
    const before = there & BEFORE ? part(reader) : undefined
    const after = there & AFTER ? part(reader) : undefined
    changes.push({ position, key, before, after })
  }
  return changes
}

/** Bytes and their length; a view of them. */
function part(reader: ByteReader): Buffer {
  const length = reader.length()
  return reader.buffer.subarray(reader.at - length, reader.at)
}
