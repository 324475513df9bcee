// A subscription of a client in this process: changes as they are taken, with few of them ahead. One that is slower than the ring of recent
// changes begins anew with the rows there are; rows that have gone meanwhile are told as gone.
import type { AnyRow, MainstemError, Position } from '../../core/index.ts'
import type { Change, SubscribeHow } from '../client/client.ts'
import { KnownKeys } from '../client/known-keys.ts'
import type { Reads, ServedView } from '../reads.ts'
import type { RingChange } from './change-ring.ts'
import type { Mark } from './events.ts'
import type { Wanted } from './selection.ts'
import type { SnapshotPart } from './snapshot.ts'
import type { Clocked, Opened } from './subscriptions.ts'
import type { Membership, Told } from './view-hub.ts'

/** Changes that are taken before they are asked for. */
const AHEAD_MAX = 256

export async function* subscribeLocally(
  reads: Reads,
  served: ServedView,
  wanted: Wanted,
  options: SubscribeHow,
): AsyncGenerator<Change<unknown, AnyRow>, void, undefined> {
  const { after = [], timeoutMs, signal, sources = false } = options
  const known = new KnownKeys()
  const textOf = (key: unknown) => served.live.key.encode(key).toString('latin1')
  for (;;) {
    const opened = await reads.subscriptions.prepare({
      served,
      wanted,
      after: [after].flat(),
      lastEventId: undefined,
      timeoutMs,
      signal,
    })
    const subscriber = new LocalSubscriber(opened, signal)
    known.reset()
    const told = ({ change, told }: Changed): Change<unknown, AnyRow> => {
      const key = opened.keyOf(change.key)
      const position = String(change.position) as Position
      if (told === 'gone') known.gone(change.key)
      else known.row(change.key, key)
      return told === 'gone'
        ? { type: 'gone', key, position }
        : { type: 'row', key, value: opened.rowOf(change.after!), position }
    }
    try {
      let part: SnapshotPart | 'overflow' = opened.snapshot!
      for (; part !== 'overflow'; part = await opened.more()) {
        // From the cut of the last part on all changes are kept for it.
        if (part.last) subscriber.begin()
        for (const change of part.changes) yield told(change)
        for (const { key, value } of part.rows) {
          known.row(textOf(key), key)
          yield { type: 'row', key, value, position: String(part.position) as Position }
        }
        if (part.last) break
        signal?.throwIfAborted()
      }
      if (part === 'overflow') continue
      for (let next = await subscriber.next(); next; next = await subscriber.next()) {
        if ('mark' in next) {
          const { position, freshness } = next.mark
          for (const key of known.settled()) yield { type: 'gone', key, position: freshness.position as Position }
          const at = sources ? { sources: await reads.sourcePositions([served.live], position) } : {}
          yield { type: 'progress', ...freshness, position: freshness.position as Position, ...at }
          continue
        }
        yield told(next)
      }
    } finally {
      subscriber.leave()
    }
  }
}

type Changed = SnapshotPart['changes'][number]
type Next = Changed | { readonly mark: Mark }

class LocalSubscriber implements Clocked {
  readonly selection
  readonly #opened: Opened
  readonly #signal: AbortSignal | undefined
  #ahead: Next[] = []
  #refused = false
  #position = -1
  #membership: Membership | undefined
  #waiting: (() => void) | undefined
  #overflown = false
  #error: MainstemError | undefined

  constructor(opened: Opened, signal: AbortSignal | undefined) {
    this.#opened = opened
    this.#signal = signal
    this.selection = opened.selection
    signal?.addEventListener('abort', this.flush)
  }

  begin(): void {
    this.#membership = this.#opened.join(this)
  }

  /** The next change, or how far the view is; undefined where it has to begin anew. @throws why nothing more comes; the signal's reason */
  async next(): Promise<Next | undefined> {
    for (;;) {
      this.#signal?.throwIfAborted()
      const next = this.#ahead.shift()
      if (next) return next
      if (this.#error) throw this.#error
      if (this.#overflown) return undefined
      if (this.#refused) {
        this.#refused = false
        this.#membership?.goOn()
        continue
      }
      await new Promise<void>(resolve => {
        this.#waiting = resolve
      })
    }
  }

  take(change: RingChange, told: Told): boolean {
    if (this.#ahead.length >= AHEAD_MAX) {
      this.#refused = true
      return false
    }
    this.#ahead.push({ change, told })
    return true
  }

  readonly flush = (): void => {
    this.#waiting?.()
    this.#waiting = undefined
  }

  level(): void {
    this.#tell(this.#opened.events.mark())
  }

  tick(_: number, mark: Mark): void {
    if (this.#membership?.isLevel && this.#ahead.length === 0 && mark.position !== this.#position) this.#tell(mark)
  }

  #tell(mark: Mark): void {
    this.#position = mark.position
    this.#ahead.push({ mark })
    this.flush()
  }

  overflow(): void {
    this.#overflown = true
    this.flush()
  }

  ended(error: MainstemError): void {
    this.#error = error
    this.flush()
  }

  leave(): void {
    this.#signal?.removeEventListener('abort', this.flush)
    this.#membership?.leave()
    this.#opened.close()
  }
}
