import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'
import { z } from 'zod'
import { type AnyRow, type EmbeddedLog, openEmbeddedLog } from '../../core/index.ts'
import {
  type Application,
  application,
  type Engine,
  type EngineEvent,
  type LocalEngine,
  openEngine,
  partsOf,
  projection,
  type ReplayOptions,
  type ReplayReport,
} from '../../projections/index.ts'
import { Random } from '../support/random.ts'
import { registerTables, type TestOp, tableSource, type Writer } from '../support/table-source.ts'

// Two tables and two views of them, one folding the other, over a real log in a temporary folder: a `Bench` per test.
export const test = tableSource()
export const invoices = test.table('invoices', {
  key: 'id',
  row: z.object({ id: z.int(), customer: z.int().nullable(), cents: z.int() }),
})
export const payments = test.table('payments', {
  key: 'id',
  row: z.object({ id: z.int(), invoice: z.int(), cents: z.int() }),
})
export const bills = projection('bills', {
  key: z.int(),
  state: z.object({ customer: z.int().nullable(), open: z.int() }),
})
  .on(invoices, 'id', {
    add: (bill, invoice) => {
      bill.customer = invoice.customer
      bill.open += invoice.cents
    },
    remove: (bill, invoice) => {
      bill.customer = null
      bill.open -= invoice.cents
    },
  })
  .on(payments, 'invoice', {
    add: (bill, payment) => {
      bill.open -= payment.cents
    },
    remove: (bill, payment) => {
      bill.open += payment.cents
    },
  })
export const accounts = projection('accounts', {
  key: z.int(),
  state: z.object({ bills: z.int32(), open: z.int() }),
}).on(bills, 'customer', {
  add: (account, bill) => {
    account.bills++
    account.open += bill.open
  },
  remove: (account, bill) => {
    account.bills--
    account.open -= bill.open
  },
})
export const app = application('test', { views: [accounts, bills] })

/** Small, so that most of a test's records come to lie in sealed segments. */
const SEGMENT_BYTES = 16 * 1024

/** What one test works on: a log in a temporary folder, and the engines over it. */
class World {
  folder = ''
  engines: LocalEngine[] = []
  readonly events: EngineEvent[] = []
  #log: EmbeddedLog | undefined
  #writer: Writer | undefined

  get log(): EmbeddedLog {
    if (!this.#log) throw new Error('useWorld() was not called')
    return this.#log
  }

  get writer(): Writer {
    if (!this.#writer) throw new Error('useWorld() was not called')
    return this.#writer
  }

  async begin(): Promise<void> {
    this.folder = await mkdtemp(join(tmpdir(), 'mainstem-shard-'))
    this.#log = await openEmbeddedLog({ path: join(this.folder, 'log'), segmentBytesMax: SEGMENT_BYTES })
    this.#writer = await registerTables(this.#log, [invoices, payments])
    this.events.length = 0
  }

  async end(): Promise<void> {
    await this.stopAll()
    await this.#log?.close()
    await rm(this.folder, { recursive: true, force: true })
  }

  async stopAll(): Promise<void> {
    for (const engine of this.engines.splice(0)) await engine.stop()
  }
}

export const world = new World()

/** Gives each test of the file a world of its own. */
export function useWorld(): void {
  beforeEach(() => world.begin())
  afterEach(() => world.end())
}

/** @param sliceMs 0 yields after each row of a checkpoint, so that everything interleaves */
export async function open(
  definition: Application = app,
  fingerprint = 'one',
  name = 'views',
  sliceMs = 0,
): Promise<LocalEngine> {
  const engine = await openEngine({
    log: world.log,
    parts: partsOf(definition),
    path: join(world.folder, name),
    fingerprint,
    checkpointIntervalMs: 3_600_000,
    sliceMs,
    onEvent: event => world.events.push(event),
  })
  world.engines.push(engine)
  return engine
}

export const level = async (engine: LocalEngine) => {
  await engine.waitFor(world.log.end, AbortSignal.timeout(10_000))
}

export function rowsOf(engine: LocalEngine, view: string, keys: number): (AnyRow | undefined)[] {
  const live = engine.views.get(view)
  return Array.from({ length: keys }, (_, key) => structuredClone(live?.get(key)))
}

/** Replays a view to its end. @throws what it failed with */
export async function replayed(engine: Engine, view: string, options?: ReplayOptions): Promise<ReplayReport> {
  await engine.replayer.start(view, options)
  for (;;) {
    const { report, error } = engine.replayer.status()
    if (error) throw Object.assign(new Error(error.message), error)
    if (report) return report
    await new Promise(resolve => setImmediate(resolve))
  }
}

export const KEYS = 12

/** Random transactions over two tables: inserts, updates, deletes, key changes, foreign keys that move. */
export class RandomTables {
  readonly invoices = new Map<number, AnyRow>()
  readonly payments = new Map<number, AnyRow>()
  readonly #random: Random

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  transaction(): TestOp[] {
    return Array.from({ length: 1 + this.#random.int(4) }, () =>
      this.#random.int(2) === 0
        ? this.#change(invoices, this.invoices, id => ({
            id,
            customer: this.#random.int(4) === 0 ? null : this.#random.int(KEYS),
            cents: this.#random.int(1000),
          }))
        : this.#change(payments, this.payments, id => ({
            id,
            invoice: this.#random.int(KEYS),
            cents: this.#random.int(500),
          })),
    )
  }

  #change(table: TestOp['table'], rows: Map<number, AnyRow>, make: (id: number) => AnyRow): TestOp {
    const id = this.#random.int(KEYS)
    const before = rows.get(id)
    if (!before) {
      const after = make(id)
      rows.set(id, after)
      return { op: 'insert', table, after }
    }
    if (this.#random.int(3) === 0) {
      rows.delete(id)
      return { op: 'delete', table, before }
    }
    const moved = this.#random.int(4) === 0 ? this.#random.int(KEYS) : id
    const to = rows.has(moved) ? id : moved
    const after = make(to)
    rows.delete(id)
    rows.set(to, after)
    return { op: 'update', table, before, after }
  }

  /** What the views must hold, computed from the tables as they are. */
  expected(): { bills: (AnyRow | undefined)[]; accounts: (AnyRow | undefined)[] } {
    const bill = new Map<number, { customer: number | null; open: number }>()
    const at = (id: number) => {
      const found = bill.get(id) ?? { customer: null, open: 0 }
      bill.set(id, found)
      return found
    }
    for (const row of this.invoices.values()) Object.assign(at(row['id'] as number), { customer: row['customer'] })
    for (const row of this.invoices.values()) at(row['id'] as number).open += row['cents'] as number
    for (const row of this.payments.values()) at(row['invoice'] as number).open -= row['cents'] as number
    const account = new Map<number, { bills: number; open: number }>()
    for (const { customer, open: cents } of bill.values()) {
      if (customer === null) continue
      const found = account.get(customer) ?? { bills: 0, open: 0 }
      account.set(customer, { bills: found.bills + 1, open: found.open + cents })
    }
    const list = <T>(rows: Map<number, T>) => Array.from({ length: KEYS }, (_, key) => rows.get(key))
    return { bills: list(bill), accounts: list(account) }
  }
}
