// Views in several shards, as many threads would have them, over one folder of checkpoints on a disk that forgets.
import { z } from 'zod'
import { type AnyRow, type FileSystem, isMainstemError, topic } from '../../../core/index.ts'
import { loadRows, ViewRows } from '../../../projections/checkpoint/load.ts'
import type { Checkpoint } from '../../../projections/checkpoint/manifest.ts'
import { CheckpointPart } from '../../../projections/checkpoint/part.ts'
import { addHashes, type RowsHash } from '../../../projections/checkpoint/row-hash.ts'
import { type CheckpointStore, openCheckpointStore } from '../../../projections/checkpoint/store.ts'
import { projection } from '../../../projections/index.ts'
import type { ProjectionDefinition } from '../../../projections/projection.ts'
import { realScheduler, Turns } from '../../../projections/shards/scheduler.ts'
import { KEY_GROUPS, type KeyGroups } from '../../../projections/state/key-groups.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { FoldedView } from '../../../projections/view.ts'
import type { Random } from '../../support/random.ts'

export const FOLDER = 'views'
export const LOG_ID = '6b8f7a0e-0000-4000-8000-000000000001'
const STATUSES = ['placed', 'paid', 'shipped', 'cancelled'] as const

const orders = topic('orders', {
  key: 'customer',
  value: z.object({ customer: z.int(), cents: z.int(), status: z.enum(STATUSES), at: z.date(), gone: z.boolean() }),
})

const customers = projection('customers', {
  key: z.int(),
  state: z.object({
    count: z.int32(),
    cents: z.int(),
    by: z.record(z.enum(STATUSES), z.int32()),
    last: z.date().nullable(),
  }),
}).on(orders, 'customer', (s, order, ctx) => {
  if (order.gone) ctx.delete()
  else {
    s.count++
    s.cents += order.cents
    s.by[order.status]++
    s.last = order.at
  }
})

const names = projection('names', {
  key: z.string(),
  state: z.object({ seen: z.array(z.int()), by: z.map(z.string(), z.int()), note: z.string().default('') }),
}).on(
  orders,
  order => `customer ${order.customer}`,
  (s, order) => {
    s.seen = [...s.seen, order.cents].slice(-3)
    s.by.set(order.status, (s.by.get(order.status) ?? 0) + order.cents)
    s.note = `${order.cents} ü`.repeat(order.cents % 3)
  },
)

export const VIEWS = [customers, names] as unknown as readonly ProjectionDefinition[]

export interface Order extends AnyRow {
  readonly customer: number
  readonly cents: number
}

export const randomOrder = (random: Random, customers: number = KEYS): Order => ({
  customer: random.int(customers),
  cents: random.int(100_000),
  status: random.pick(STATUSES),
  at: new Date(1.7e12 + random.int(1e9)),
  gone: random.int(6) === 0,
})

const FACTS = { generation: 0, fingerprint: 'f', facts: { state: 's', definition: 'd', contracts: {} }, continued: [] }
const FACTS_OF_VIEWS = Object.fromEntries(VIEWS.map(({ name }) => [name, FACTS]))

/** Customers are below. */
export const KEYS = 30

/** View → key, as text → row. */
export type State = Readonly<Record<string, Readonly<Record<string, AnyRow>>>>

class Shard {
  readonly groups: KeyGroups
  readonly views: readonly FoldedView[]
  readonly part: CheckpointPart

  constructor(fs: FileSystem, shard: number, count: number) {
    const at = (n: number) => Math.floor((KEY_GROUPS * n) / count)
    this.groups = { from: at(shard), to: at(shard + 1) }
    const memory = new StateMemory()
    const info = { position: 1, timeMs: 0 }
    this.views = VIEWS.map(definition => new FoldedView(definition, info, memory))
    this.part = new CheckpointPart({
      fs,
      folder: FOLDER,
      logId: LOG_ID,
      shard,
      groups: this.groups,
      views: this.views,
      scheduler: realScheduler,
      sliceMs: 0,
      take: bytes => (bytes > 0 ? memory.take(bytes) : memory.release(-bytes, 0)),
    })
  }

  owns(view: FoldedView, key: unknown): boolean {
    const group = view.table.keys.hashOf(view.table.keys.idOf(key)) >>> 25
    return group >= this.groups.from && group < this.groups.to
  }
}

export class Shards {
  readonly fs: FileSystem
  readonly store: CheckpointStore
  readonly shards: readonly Shard[]
  position = 0

  constructor(fs: FileSystem, store: CheckpointStore, count: number) {
    this.fs = fs
    this.store = store
    this.shards = Array.from({ length: count }, (_, n) => new Shard(fs, n, count))
  }

  static async open(fs: FileSystem, count: number, kept = 3): Promise<Shards> {
    const store = await openCheckpointStore({ fs, path: FOLDER, logId: LOG_ID, kept, appendedBytesMin: 600 })
    return new Shards(fs, store, count)
  }

  /** One transaction. */
  fold(orders: readonly Order[]): void {
    this.position++
    for (const order of orders) {
      for (const shard of this.shards) {
        for (const view of shard.views) {
          const route = view.routes[0]!
          const key = route.keysOf(order, { fromRow: () => order.customer })
          if (shard.owns(view, key)) view.fold(route, null, order, { fromRow: () => order.customer })
          if (view.error) throw view.error
        }
      }
    }
    for (const shard of this.shards) for (const view of shard.views) view.endTransaction(this.position)
  }

  state(): State {
    const state: Record<string, Record<string, AnyRow>> = Object.fromEntries(VIEWS.map(({ name }) => [name, {}]))
    for (const { views } of this.shards) {
      for (const view of views) {
        for (let key = 0; key < KEYS; key++) {
          const id = view.name === 'customers' ? key : `customer ${key}`
          const row = view.get(id)
          if (row) state[view.name]![String(id)] = structuredClone(row)
        }
      }
    }
    return state
  }

  /** A checkpoint of now. @param meanwhile folds while it is written */
  async checkpoint(meanwhile: () => void = () => {}): Promise<Checkpoint> {
    const { store, position } = this
    const request = store.request()
    for (const { part } of this.shards) part.begin(request)
    const finishing = Promise.allSettled(this.shards.map(({ part }) => part.finish()))
    meanwhile()
    try {
      const parts = (await finishing).map(result => {
        if (result.status === 'rejected') throw result.reason
        return result.value
      })
      return await store.commit({ request, position, parts, complete: [], views: FACTS_OF_VIEWS })
    } catch (error) {
      store.failed()
      throw error
    }
  }

  /** Loads a checkpoint into views that are empty, and checks its hashes. @throws CHECKPOINT_CORRUPT */
  async load(checkpoint: Checkpoint): Promise<void> {
    const found = new Map<string, RowsHash[]>(VIEWS.map(({ name }) => [name, []]))
    for (const { groups, part } of this.shards) {
      const rows = part.views.map(each => ({ name: each.view.name, rows: new ViewRows(each), each }))
      const wanted = rows.map(({ name, rows: sink }) => [name, { sink, files: checkpoint.views[name]!.files }] as const)
      const turns = new Turns(realScheduler, 2)
      await loadRows({ fs: this.fs, folder: FOLDER, logId: LOG_ID, groups, turns }, new Map(wanted))
      for (const { name, rows: sink, each } of rows) {
        sink.end()
        each.view.position = checkpoint.position
        found.get(name)!.push(each.sums.total())
      }
    }
    for (const [name, hashes] of found) {
      const { rows, hash } = checkpoint.views[name]!
      const sum = addHashes(hashes)
      if (sum.rows !== rows || sum.hash !== hash)
        throw new Error(`${name}: ${JSON.stringify(sum)}, not ${rows} ${hash}`)
    }
    this.position = checkpoint.position
  }

  /** Goes on with the files of the newest checkpoint, from which all was loaded by as many shards. */
  resume(): void {
    const files = Object.values(this.store.latest!.views)[0]!.files
    for (const [n, { part }] of this.shards.entries()) part.resume(files[n]!)
    this.store.resume()
  }

  empty(): void {
    for (const { part } of this.shards) {
      for (const each of part.views) {
        each.drop()
        each.view.reset()
      }
    }
  }

  /** Loads the newest checkpoint that is whole; the position, 0 where there is none. */
  async loadNewest(): Promise<number> {
    for (let { latest } = this.store; latest; latest = this.store.latest) {
      try {
        await this.load(latest)
        return latest.position
      } catch (error) {
        if (!isMainstemError(error) || error.code !== 'CHECKPOINT_CORRUPT') throw error
        this.store.discard(latest)
        this.empty()
      }
    }
    return 0
  }

  async close(): Promise<void> {
    for (const { part } of this.shards) await part.close()
  }
}
