// A subscription of a client in this process: changes as they are taken, with few of them ahead. One that is slower than the ring of recent
// changes begins anew with the rows there are; rows that have gone meanwhile are told as gone.
import type { AnyRow, MainstemError, Position } from '../../core/index.ts'
import type { Change, SubscribeOptions } from '../client/client.ts'
import { KnownKeys } from '../client/known-keys.ts'
import type { Reads, ServedView } from '../reads.ts'
import type { RingChange } from './change-ring.ts'
import type { Mark } from './events.ts'
import { wantedKeys } from './snapshot.ts'
import type { Clocked, Opened } from './subscriptions.ts'
import type { Membership, Told } from './view-hub.ts'

/** Changes that are taken before they are asked for. */
const AHEAD_MAX = 256

export async function* subscribeLocally(
  reads: Reads,
  served: ServedView,
  options: SubscribeOptions<unknown>,
): AsyncGenerator<Change<unknown, AnyRow>, void, undefined> {
  const { after = [], timeoutMs, signal, sources = false } = options
  const wanted = wantedKeys(served, options.keys, undefined)
  const known = new KnownKeys()
  const textOf = (key: unknown) => served.live.key.encode(key).toString('latin1')
  for (;;) {
    const opened = await reads.subscriptions.prepare({
      served,
      wanted,
      after: [after].flat(),
      lastEventId: undefined,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(signal ? { signal } : {}),
    })
    const subscriber = new LocalSubscriber(opened, signal)
    known.reset()
    try {
      const { position, rows } = opened.snapshot!
      subscriber.begin()
      for (const { key, value } of rows) {
        known.row(textOf(key), key)
        yield { type: 'row', key, value, position: String(position) as Position }
      }
      for (let next = await subscriber.next(); next; next = await subscriber.next()) {
        if ('mark' in next) {
          const { position, freshness } = next.mark
          for (const key of known.settled()) yield { type: 'gone', key, position: freshness.position as Position }
          const at = sources ? { sources: await reads.sourcePositions([served.live], position) } : {}
          yield { type: 'progress', ...freshness, position: freshness.position as Position, ...at }
          continue
        }
        const { change, told } = next
        const key = subscriber.keyOf(change)
        const position = String(change.position) as Position
        if (told === 'row') known.row(change.key, key)
        else known.gone(change.key)
        if (told === 'row') yield { type: 'row', key, value: subscriber.rowOf(change), position }
        else yield { type: 'gone', key, position }
      }
    } finally {
      subscriber.leave()
    }
  }
}

type Next = { readonly change: RingChange; readonly told: Told } | { readonly mark: Mark }

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

  keyOf(change: RingChange): unknown {
    return this.#opened.keyOf(change.key)
  }

  rowOf(change: RingChange): AnyRow {
    return this.#opened.rowOf(change.after!)
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
