// What subscribers are sent, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). An event of a change is
// made once, when the first subscriber needs it, and its bytes go to all.
import type { MainstemError } from '../../core/index.ts'
import { problemOf } from '../problem.ts'
import type { Freshness, Reads } from '../reads.ts'
import { freshnessJson } from '../routes-reads.ts'
import type { RingChange } from './change-ring.ts'
import { formatResumeToken } from './resume-token.ts'
import type { SnapshotPart } from './snapshot.ts'
import type { Told, ViewHub } from './view-hub.ts'

/** Keeps a connection from looking idle. */
export const HEARTBEAT = Buffer.from(': \n\n')

/** How far a hub is. */
export interface Mark {
  readonly position: number
  readonly freshness: Freshness
  /** As an event. */
  bytes(): Buffer
}

export class Events {
  readonly #reads: Reads
  readonly #hub: ViewHub

  constructor(reads: Reads, hub: ViewHub) {
    this.#reads = reads
    this.#hub = hub
  }

  #token(position: number, number: number): string {
    const { served, epoch } = this.#hub
    return formatResumeToken(this.#reads.log.id, served.live.name, { position, epoch, number })
  }

  change(change: RingChange, told: Told): Buffer {
    const made = change[told]
    if (made) return made
    const bytes = Buffer.from(`id: ${this.#token(change.position, change.number)}\n${this.#text(change, told)}`)
    change[told] = bytes
    return bytes
  }

  #text({ key, after, position }: RingChange, told: Told): string {
    const { served } = this.#hub
    const value = told === 'row' ? `,"value":${served.writeValue(this.#hub.rowOf(after!))}` : ''
    return `event: ${told}\ndata: {"key":${served.writeKey(this.#hub.keyOf(key))}${value},"position":"${position}"}\n\n`
  }

  /** A part of a snapshot. Its events have no id, since nobody can go on from amidst one. */
  part({ changes, rows, position }: SnapshotPart): Buffer {
    const { writeKey, writeValue } = this.#hub.served
    const changed = changes.map(({ change, told }) => this.#text(change, told))
    const there = rows.map(
      ({ key, value }) =>
        `event: row\ndata: {"key":${writeKey(key)},"value":${writeValue(value)},"position":"${position}"}\n\n`,
    )
    return Buffer.from([...changed, ...there].join(''))
  }

  /** The id says that all before has come. @param number of the last change then. Default: now */
  #progress(freshness: Freshness, number = this.#hub.ring.newest): Buffer {
    // What was found out about a moment that has passed must not take a client back.
    const isNow = number === this.#hub.ring.newest
    const id = isNow ? `id: ${this.#token(Number(freshness.position), number)}\n` : ''
    return Buffer.from(`${id}event: progress\ndata: {${freshnessJson(freshness)}}\n\n`)
  }

  /** How far the hub is now; made once for all who are told in this turn. */
  mark(): Mark {
    const { served, position } = this.#hub
    const freshness = this.#reads.freshness([served.live], { position, final: served.live.final })
    let bytes: Buffer | undefined
    return {
      position,
      freshness,
      bytes: () => {
        bytes ??= this.#progress(freshness)
        return bytes
      },
    }
  }

  /** The same with up to where each source is. */
  async withSources({ position, freshness }: Mark): Promise<Buffer> {
    const { newest } = this.#hub.ring
    const sources = await this.#reads.sourcePositions([this.#hub.served.live], position)
    return this.#progress({ ...freshness, sources }, newest)
  }
}

/** What was known is out of date: a snapshot follows. */
export const resetEvent = (position: number): Buffer =>
  Buffer.from(`event: reset\ndata: {"position":"${position}"}\n\n`)

/** The last event: why nothing more comes. */
export const lastEvent = (name: 'overflow' | 'end', error: MainstemError): Buffer =>
  Buffer.from(`event: ${name}\ndata: ${JSON.stringify(problemOf(error))}\n\n`)
