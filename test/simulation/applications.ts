// What simulated processes run. A bank, of whose balances the sum is always the same; views that fold views and publish events; a
// workload over it all.
import { z } from 'zod'
import { type AnyRow, compileContract, contractOfTable, type Log, type LogTopic, topic } from '../../core/index.ts'
import {
  type Application,
  application,
  count,
  countBy,
  max,
  partsOf,
  projection,
  type RowRequest,
  sum,
} from '../../projections/index.ts'
import { RandomInput, randomGraph } from '../projections/shards/random-graph.ts'
import { batchesOf } from '../support/log-batches.ts'
import type { Random } from '../support/random.ts'
import { registerTables, type TestOp, tableSource, type Writer } from '../support/table-source.ts'

/** What appends transactions to a simulated process's log. */
export interface Workload {
  open(): Promise<void>
  /** Begins one; resolves when it is durable. Those that are under way together follow each other as they began. */
  transaction(): Promise<unknown>
}

export interface Simulated {
  readonly app: Application
  /** Every key that can have a row. */
  readonly rows: readonly RowRequest[]
  workload(log: Log, random: Random): Workload
  /** Tables of which history can be compacted: the views are the same, to the last bit, by what is left. */
  readonly compacted: readonly string[]
  /** What must hold of any answer, whatever the log, by view; undefined where it does. */
  broken(rows: ReadonlyMap<string, readonly (AnyRow | undefined)[]>): string | undefined
}

/** Half of the runs are of the bank. */
export const simulated = (random: Random): Simulated => (random.next() < 0.5 ? theBank : randomViews(random))

/** Random views of random views, whose rows tell what was folded into them, and in which order. */
function randomViews(random: Random): Simulated {
  const views = randomGraph(random)
  return {
    app: application('random', { views: views.map(({ view }) => view) }),
    rows: views.flatMap(({ view, keys }) => keys.map(key => ({ view: view.name, key }))),
    broken: () => undefined,
    // Their rows tell the order of everything.
    compacted: [],
    workload: (log, random) => {
      const input = new RandomInput(log, random)
      return {
        open: () => input.open(),
        transaction: () => input.transaction(random.next() < 0.01 ? 1_100 : 1 + random.int(6)),
      }
    },
  }
}

const ACCOUNTS = 8
const OWNERS = ['ada', 'bob', 'çelik', '日本']

const source = tableSource()
/** What is in them together never changes but by opening and closing empty ones. */
const accounts = source.table('accounts', {
  key: 'id',
  row: z.object({ id: z.int(), owner: z.string().nullable(), cents: z.int() }),
})
const transfers = topic('transfers', {
  key: 'from',
  value: z.object({ from: z.int(), to: z.int(), cents: z.int(), why: z.enum(['rent', 'gift']) }),
})
const alarms = topic('alarms', { key: 'account', value: z.object({ account: z.int(), below: z.int() }) })

/** By events: each goes to two rows. */
const ledger = projection('ledger', {
  key: z.int(),
  state: z.object({ cents: z.int(), moves: z.int32() }),
  emits: [alarms],
}).on(
  transfers,
  transfer => (transfer.from === transfer.to ? transfer.from : [transfer.from, transfer.to]),
  (account, { from, to, cents }, ctx) => {
    account.moves++
    if (ctx.key === from) account.cents -= cents
    if (ctx.key === to) account.cents += cents
    if (account.cents < -200) ctx.emit(alarms, { account: ctx.key, below: account.cents })
  },
)

const alarmed = projection('alarmed', {
  key: z.int(),
  state: z.object({ times: z.int(), lowest: z.int().nullable() }),
}).on(alarms, 'account', (row, alarm) => {
  row.times++
  row.lowest = Math.min(row.lowest ?? 0, alarm.below)
})

const reasons = projection('reasons', {
  key: z.enum(['rent', 'gift']),
  state: z.object({
    n: z.int(),
    cents: z.int(),
    by: z.record(z.enum(['rent', 'gift']), z.int32()),
    most: z.int().nullable(),
  }),
}).on(transfers, 'why', { n: count(), cents: sum('cents'), by: countBy('why'), most: max('cents') })

/** By a table: rows come, change and go. */
const balances = projection('balances', {
  key: z.int(),
  state: z.object({ cents: z.int(), owner: z.string().nullable() }),
}).on(accounts, 'id', {
  add: (balance, account) => {
    balance.cents += account.cents
    balance.owner = account.owner
  },
  remove: (balance, account) => {
    balance.cents -= account.cents
    balance.owner = null
  },
})

/** Folds a view, by another key. */
const owners = projection('owners', {
  key: z.string(),
  state: z.object({ accounts: z.int32(), cents: z.int(), poorest: z.int().nullable() }),
}).on(balances, 'owner', {
  add: (owner, balance) => {
    owner.accounts++
    owner.cents += balance.cents
  },
  remove: (owner, balance) => {
    owner.accounts--
    owner.cents -= balance.cents
  },
})

/** Folds two views, one of which folds another: all that is anywhere, in one row, and in one for each number of accounts. */
const world = projection('world', {
  key: z.int(),
  state: z.object({ cents: z.int(), owners: z.int(), moves: z.int() }),
})
  .on(owners, owner => [0, owner.accounts], {
    add: (all, owner) => {
      all.cents += owner.cents
      all.owners++
    },
    remove: (all, owner) => {
      all.cents -= owner.cents
      all.owners--
    },
  })
  .on(ledger, () => 0, {
    add: (all, account) => {
      all.moves += account.moves
    },
    remove: (all, account) => {
      all.moves -= account.moves
    },
  })

/** Rows that go by themselves; what folds them sees them go. */
const recent = projection('recent', {
  key: z.int(),
  state: z.object({ moves: z.int32(), last: z.int() }),
  ttl: 120,
}).on(transfers, 'to', (account, transfer) => {
  account.moves++
  account.last = transfer.cents
})
const active = projection('active', { key: z.int(), state: z.object({ accounts: z.int32() }) }).on(recent, () => 0, {
  add: all => {
    all.accounts++
  },
  remove: all => {
    all.accounts--
  },
})

const bank: Application = application('bank', {
  views: [ledger, alarmed, reasons, balances, owners, world, recent, active],
})

const numbers = Array.from({ length: ACCOUNTS }, (_, n) => n)
const KEYS: Readonly<Record<string, readonly unknown[]>> = {
  ledger: numbers,
  alarmed: numbers,
  reasons: ['rent', 'gift'],
  balances: numbers,
  owners: OWNERS,
  world: numbers,
  recent: numbers,
  active: [0],
}

const theBank: Simulated = {
  app: bank,
  rows: Object.entries(KEYS).flatMap(([view, keys]) => keys.map(key => ({ view, key }))),
  workload: (log, random) => new Teller(random, log),
  broken: moneyMissing,
  compacted: [contractOfTable(accounts as never).name],
}

/** Money moves, it does not come or go. */
function moneyMissing(rows: ReadonlyMap<string, readonly (AnyRow | undefined)[]>): string | undefined {
  const cents = (view: string) => (rows.get(view) ?? []).reduce((total, row) => total + Number(row?.['cents'] ?? 0), 0)
  if (cents('ledger') !== 0) return `the ledger is off by ${cents('ledger')}`
  if (cents('balances') % BANK_CENTS !== 0) return `the balances come to ${cents('balances')}`
  return undefined
}

/** In the bank, once it has opened: all of it comes with the first transaction. */
const BANK_CENTS = 100_000

/** Appends random transactions. What it knows of the tables it reads from the log, where a crash may have left less than was asked for. */
class Teller implements Workload {
  readonly #random: Random
  readonly #log: Log
  #topics = new Map<string, LogTopic>()
  #writer: Writer | undefined
  #rows = new Map<number, AnyRow>()

  constructor(random: Random, log: Log) {
    this.#random = random
    this.#log = log
  }

  async open(): Promise<void> {
    for (const each of partsOf(bank).topics)
      this.#topics.set(each.name, await this.#log.topic(compileContract(each.name, 'topic', each.value, each.key)))
    this.#writer = await registerTables(this.#log, [accounts])
    for (const { records } of await batchesOf(this.#log)) {
      for (const { topic, before, after } of records) {
        if (topic !== contractOfTable(accounts as never).name) continue
        if (before) this.#rows.delete(before['id'] as number)
        if (after) this.#rows.set(after['id'] as number, after)
      }
    }
  }

  transaction(): Promise<unknown> {
    const random = this.#random
    if (random.next() < 0.5) return this.#transfer(random.next() < 0.02 ? 1_100 : 1 + random.int(4))
    const ops = this.#rows.size === 0 ? this.#openBank() : this.#move()
    return this.#writer!.transaction(ops)
  }

  #transfer(records: number): Promise<unknown> {
    const random = this.#random
    const batch = this.#log.batch()
    for (let n = 0; n < records; n++)
      batch.event(this.#topics.get(transfers.name)!, {
        from: random.int(ACCOUNTS),
        to: random.int(ACCOUNTS),
        cents: random.int(500),
        why: random.pick(['rent', 'gift']),
      })
    return batch.commit()
  }

  #openBank(): TestOp[] {
    return numbers.slice(0, ACCOUNTS - 2).map(id => {
      const after = { id, owner: this.#random.pick(OWNERS), cents: id === 0 ? BANK_CENTS : 0 }
      this.#rows.set(id, after)
      return { op: 'insert', table: accounts as never, after }
    })
  }

  /** Moves cents between two accounts, or an account to another owner or number, or opens or closes an empty one. */
  #move(): TestOp[] {
    const random = this.#random
    const ids = [...this.#rows.keys()]
    const [from, to] = [random.pick(ids), random.pick(ids)]
    const ops: TestOp[] = []
    const put = (id: number, after: AnyRow | undefined) => {
      const before = this.#rows.get(id)
      this.#rows.delete(id)
      if (after) this.#rows.set(after['id'] as number, after)
      const table = accounts as never
      if (before && after) ops.push({ op: 'update', table, before, after })
      else if (before) ops.push({ op: 'delete', table, before })
      else if (after) ops.push({ op: 'insert', table, after })
    }
    const row = this.#rows.get(from)!
    const free = numbers.find(id => !this.#rows.has(id))
    const what = random.int(6)
    if (what === 0) put(from, { ...row, owner: random.next() < 0.2 ? null : random.pick(OWNERS) })
    else if (what === 1 && free !== undefined) put(from, { ...row, id: free })
    else if (what === 2 && free !== undefined) put(free, { id: free, owner: random.pick(OWNERS), cents: 0 })
    else if (what === 3 && row['cents'] === 0 && ids.length > 2) put(from, undefined)
    if (from !== to && this.#rows.has(from)) {
      const cents = random.int(300)
      const [giver, taker] = [this.#rows.get(from)!, this.#rows.get(to)!]
      put(from, { ...giver, cents: (giver['cents'] as number) - cents })
      put(to, { ...taker, cents: (taker['cents'] as number) + cents })
    }
    return ops.length > 0 ? ops : this.#move()
  }
}
