// Ranges of rows of shards behind channels: all are asked in one turn, so that all answer at one cut; what they found is put together.
// Given out when all have reached that cut, as rows by key are. A shard whose order is not level says so, and all are asked again.
import { createRowCodec, errorOf, fail, type MainstemError, type RowCodec } from '../../core/index.ts'
import type { EntryRange } from '../indexes/entry-range.ts'
import { mergeFound } from '../indexes/merge.ts'
import type { FoundBytes, RangePage } from '../indexes/range-read.ts'
import type { IndexProgress } from '../indexes/view-indexes.ts'
import type { FoldedView } from '../view.ts'
import type { FromShard, RangeFound, ShardChannel } from './messages.ts'
import { RemoteOrders } from './remote-orders.ts'
import type { Scheduler } from './scheduler.ts'

/** Ranges asked for and not answered: more are refused. */
const PENDING_MAX = 1_000

interface Asked extends PromiseWithResolvers<RangeOfShards> {
  readonly view: FoldedView
  readonly range: EntryRange
  readonly most: number
  readonly answers: (RangeFound | undefined)[]
}

export type RangeOfShards =
  | ({ readonly position: number } & RangePage)
  /** Some order is not level. */
  | { readonly behind: IndexProgress }

type RangeAnswer = Extract<FromShard, { type: 'found' | 'ordered' }>

export interface RangesHost {
  readonly views: readonly FoldedView[]
  /** The cut that all have reached. */
  readonly position: number
}

export interface ShardsReached {
  readonly channels: readonly ShardChannel[]
  readonly scheduler: Scheduler
}

export class RemoteRanges {
  readonly #host: RangesHost
  readonly #channels: readonly ShardChannel[]
  readonly #fail: (error: MainstemError) => void
  readonly #codecs: readonly RowCodec[]
  /** Ranges of any length, read while shards go on. */
  readonly orders: RemoteOrders
  readonly #asked = new Map<number, Asked>()
  /** Answered as of a cut that not all have reached. */
  #early: Asked[] = []
  #nextId = 0

  /** @param fail told that shards cannot go on */
  constructor(host: RangesHost, { channels, scheduler }: ShardsReached, fail: (error: MainstemError) => void) {
    this.#host = host
    this.#channels = channels
    this.orders = new RemoteOrders(host.views, channels, scheduler)
    this.#fail = fail
    this.#codecs = host.views.map(view => createRowCodec(view.value))
  }

  /** @throws OVERLOADED; why the order cannot be had */
  read(view: FoldedView, range: EntryRange, most: number): Promise<RangeOfShards> {
    if (this.#asked.size >= PENDING_MAX) return Promise.reject(fail('OVERLOADED', 'too many ranges are being read'))
    const channels = this.#channels
    const { views } = this.#host
    const id = this.#nextId++
    const asked = {
      ...Promise.withResolvers<RangeOfShards>(),
      view,
      range,
      most,
      answers: channels.map(() => undefined),
    }
    this.#asked.set(id, asked)
    for (const channel of channels) channel.post({ type: 'range', id, view: views.indexOf(view), range, most })
    return asked.promise
  }

  hear(shard: number, message: RangeAnswer): void {
    if (message.type === 'ordered') this.orders.hear(message)
    else this.#hear(shard, message)
  }

  #hear(shard: number, message: RangeFound): void {
    const asked = this.#asked.get(message.id)
    if (asked === undefined) return
    asked.answers[shard] = message
    const answers = asked.answers.flatMap(answer => answer ?? [])
    if (answers.length < asked.answers.length) return
    this.#asked.delete(message.id)
    if (answers.some(({ position }) => position !== message.position)) this.#fail(differentCuts())
    else if (message.position > this.#host.position) this.#early.push(asked)
    else this.#answer(asked)
  }

  /** All have reached a further cut. */
  passed(): void {
    for (const asked of this.#early.splice(0)) this.#answer(asked)
  }

  #answer({ view, range, most, answers, resolve, reject }: Asked): void {
    const all = answers.flatMap(answer => answer ?? [])
    const failed = all.find(({ error }) => error)?.error
    if (failed) {
      reject(errorOf(failed))
      return
    }
    const behind = all.flatMap(each => each.behind ?? [])
    if (behind.length > 0) {
      // Those that are level have looked at all of theirs; how many these are is not asked.
      const sum = (of: keyof IndexProgress) => behind.reduce((total, each) => total + each[of], 0)
      resolve({ behind: { done: sum('done'), total: sum('total') } })
      return
    }
    const found = all.flatMap((each): FoundBytes[] => (each.found ? [each.found] : []))
    const codec = this.#codecs[this.#host.views.indexOf(view)]!
    resolve({ position: all[0]!.position, ...mergeFound(found, range, most, view.key, codec) })
  }

  end(error: MainstemError): void {
    this.orders.end(error)
    for (const { reject } of [...this.#asked.values(), ...this.#early]) reject(error)
    this.#asked.clear()
    this.#early = []
  }
}

export const differentCuts = (): MainstemError => fail('INTERNAL', 'shards have answered at different cuts')
