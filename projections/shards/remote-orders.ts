// Rows in an order at one cut, of shards behind channels: all are told of it between the same two slices; then each is asked for its
// rows as they are wanted.
import { errorOf, type MainstemError } from '../../core/index.ts'
import type { EntryRange } from '../indexes/entry-range.ts'
import type { RowsOfShard } from '../indexes/merge.ts'
import type { FoundBytes } from '../indexes/range-read.ts'
import type { FoldedView } from '../view.ts'
import type { FromShard, ShardChannel } from './messages.ts'
import { rest, type Scheduler } from './scheduler.ts'

/** After so long a shard is asked again whose order was not level: having been asked, it works on it. */
const BEHIND_MS = 5
const NEVER = new AbortController().signal

type Ordered = Extract<FromShard, { type: 'ordered' }>

export class RemoteOrders {
  readonly #views: readonly FoldedView[]
  readonly #channels: readonly ShardChannel[]
  readonly #scheduler: Scheduler
  readonly #asked = new Map<number, PromiseWithResolvers<Ordered>>()
  #nextId = 0
  #ended: MainstemError | undefined

  constructor(views: readonly FoldedView[], channels: readonly ShardChannel[], scheduler: Scheduler) {
    this.#views = views
    this.#channels = channels
    this.#scheduler = scheduler
  }

  /** To be called at a cut. */
  open(view: FoldedView, range: EntryRange): readonly RowsOfShard[] {
    return this.#channels.map(channel => {
      const id = this.#nextId++
      if (!this.#ended) channel.post({ type: 'order', id, view: this.#views.indexOf(view), range })
      const end = () => {
        if (!this.#ended) channel.post({ type: 'order-end', id })
      }
      return { next: () => this.#next(channel, id), end }
    })
  }

  async #next(channel: ShardChannel, id: number): Promise<FoundBytes> {
    for (;;) {
      if (this.#ended) throw this.#ended
      const asked = Promise.withResolvers<Ordered>()
      this.#asked.set(id, asked)
      channel.post({ type: 'order-next', id })
      const { found, error } = await asked.promise
      if (error) throw errorOf(error)
      if (found) return found
      await rest(this.#scheduler, BEHIND_MS, NEVER)
    }
  }

  hear(message: Ordered): void {
    this.#asked.get(message.id)?.resolve(message)
    this.#asked.delete(message.id)
  }

  end(error: MainstemError): void {
    this.#ended ??= error
    for (const { reject } of this.#asked.values()) reject(error)
    this.#asked.clear()
  }
}
