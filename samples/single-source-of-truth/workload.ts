// A live workload on both databases: lanes (connections), each running one random transaction after the other on keys of
// its own. What it counts is what the databases committed, row by row.

import { setTimeout as wait } from 'node:timers/promises'
import type pg from 'pg'
import { LiveKeys } from './live-keys.ts'
import { LARGE_ID_BASE, LARGE_ID_EVERY } from './schema.ts'
import { billingRecipes, type ChangeKind, type Keys, type Recipe, shopRecipes, Transaction } from './transactions.ts'

/** One transaction in this many is rolled back. */
const ROLLBACK_EVERY = 50
/** A workload that fell behind its rate by more than this does not try to catch up. */
const BEHIND_MS_MAX = 500
const DEADLOCK = '40P01'
const SERIALIZATION_FAILURE = '40001'

export interface WorkloadOptions {
  readonly shop: pg.Pool
  readonly billing: pg.Pool
  /** Changes per second over both databases. Default: as many as they take. */
  readonly ratePerSecond?: number
  /** Connections per database. Default 4. */
  readonly connections?: number
  /** Mean size of a transaction, in rows; sizes vary from 1 to three times that, most are small. Default 32. */
  readonly rowsPerTransaction?: number
  /** Default 1. */
  readonly seed?: number
}

/** Committed rows of each kind, and transactions. A changed foreign key counts as a key change: it moves a row of a view. */
export interface WorkloadCounts extends Record<ChangeKind, number> {
  transactions: number
  /** Transactions that changed rows of more than one table. */
  multiTableTransactions: number
  rollbacks: number
}

export class Workload {
  readonly #options: WorkloadOptions
  readonly #counts: WorkloadCounts = {
    inserts: 0,
    updates: 0,
    deletes: 0,
    keyChanges: 0,
    transactions: 0,
    multiTableTransactions: 0,
    rollbacks: 0,
  }
  #stop = new AbortController()
  #lanes: Promise<void>[] = []
  #failure: unknown
  #pacer: Pacer

  constructor(options: WorkloadOptions) {
    this.#options = options
    this.#pacer = new Pacer(options.ratePerSecond)
    // A connection that breaks while idle is replaced by its pool; without a listener it would end the process.
    for (const pool of [options.shop, options.billing]) {
      pool.on('error', ignore)
      // From its first moment: a connection may be cut before whoever asked for it has it.
      pool.on('connect', client => client.on('error', ignore))
    }
  }

  get counts(): Readonly<WorkloadCounts> {
    return { ...this.#counts }
  }

  /** All row changes committed so far. */
  get changes(): number {
    const { inserts, updates, deletes, keyChanges } = this.#counts
    return inserts + updates + deletes + keyChanges
  }

  /** What ended the workload before `stop`, if anything did; `stop` throws it. */
  get failure(): unknown {
    return this.#failure
  }

  /** Reads the keys that exist and begins. After `stop` it may be started again; counts go on. */
  async start(): Promise<void> {
    if (this.#lanes.length > 0) throw new Error('the workload is running already')
    const { shop, billing, connections = 4, seed = 1 } = this.#options
    this.#stop = new AbortController()
    const [customers, orders, skus, invoices] = await Promise.all([
      readKeys(shop, 'customers'),
      readKeys(shop, 'orders'),
      shop.query<{ n: number }>('select count(distinct sku)::int as n from order_lines'),
      readKeys(billing, 'invoices'),
    ])
    const values = { customers: Math.max(customers.length, 1), skus: Math.max(skus.rows[0]?.n ?? 0, 1) }
    const shopKeys = { customers: dealOut(customers, connections), orders: dealOut(orders, connections) }
    const invoiceKeys = dealOut(invoices, connections, makeInvoiceId)
    this.#pacer = new Pacer(this.#options.ratePerSecond)
    for (let lane = 0; lane < connections; lane++) {
      const keys = { customers: shopKeys.customers[lane]!, orders: shopKeys.orders[lane]! }
      this.#lanes.push(this.#runLane(shop, shopRecipes(values), keys, createRandom(seed * 1000 + lane)))
      const billingKeys = { invoices: invoiceKeys[lane]! }
      this.#lanes.push(this.#runLane(billing, billingRecipes(values), billingKeys, createRandom(seed * 2000 + lane)))
    }
  }

  /** Lets running transactions end, begins no more, and gives the connections back. @throws what made the workload fail. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#lanes)
    this.#lanes = []
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Never rejects: a failure is kept, and ends the other lanes too. */
  async #runLane<K>(pool: pg.Pool, recipes: readonly Recipe<K>[], keys: K, random: () => number): Promise<void> {
    const { signal } = this.#stop
    let client: pg.PoolClient | undefined
    let broken = false
    try {
      client = await pool.connect()
      // What breaks a connection also rejects the query that runs on it, or the next one.
      client.on('error', ignore)
      while (!signal.aborted) {
        await this.#pacer.turn(signal)
        if (!signal.aborted) await this.#runTransaction(client, choose(recipes, random), keys, random)
      }
    } catch (error) {
      this.#failure ??= error
      broken = true
      this.#stop.abort()
    } finally {
      if (!broken) client?.off('error', ignore)
      client?.release(broken)
    }
  }

  async #runTransaction<K>(client: pg.ClientBase, recipe: Recipe<K>, keys: K, random: () => number): Promise<void> {
    const transaction = new Transaction(client, random)
    // Squared, so that small ones are frequent and large ones happen.
    const rows = 1 + Math.floor(random() ** 2 * 3 * (this.#options.rowsPerTransaction ?? 32))
    const ending = random() * ROLLBACK_EVERY < 1 ? 'rollback' : 'commit'
    try {
      await client.query('begin')
      await recipe.run(transaction, keys, rows)
      await client.query(ending)
    } catch (error) {
      if (!isConflict(error)) throw error
      await client.query('rollback')
      transaction.rolledBack()
      this.#counts.rollbacks++
      return
    }
    if (ending === 'commit') this.#count(transaction)
    else {
      transaction.rolledBack()
      this.#counts.rollbacks++
    }
  }

  #count(transaction: Transaction): void {
    transaction.committed()
    const counts = this.#counts
    counts.inserts += transaction.changes.inserts
    counts.updates += transaction.changes.updates
    counts.deletes += transaction.changes.deletes
    counts.keyChanges += transaction.changes.keyChanges
    counts.transactions++
    if (transaction.tables.size > 1) counts.multiTableTransactions++
    this.#pacer.spend(transaction.changeCount)
  }
}

/** Spreads changes over time: a lane's turn comes when the rate allows what was changed so far. */
class Pacer {
  readonly #ratePerSecond: number | undefined
  #dueMs = performance.now()

  constructor(ratePerSecond: number | undefined) {
    this.#ratePerSecond = ratePerSecond
  }

  async turn(signal: AbortSignal): Promise<void> {
    const delayMs = this.#dueMs - performance.now()
    if (this.#ratePerSecond === undefined || delayMs <= 0) return
    await wait(delayMs, undefined, { signal }).catch(() => undefined)
  }

  spend(changes: number): void {
    if (this.#ratePerSecond === undefined) return
    this.#dueMs = Math.max(this.#dueMs, performance.now() - BEHIND_MS_MAX) + (changes / this.#ratePerSecond) * 1000
  }
}

const ignore = () => undefined

function isConflict(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === DEADLOCK || error.code === SERIALIZATION_FAILURE)
}

function choose<K>(recipes: readonly Recipe<K>[], random: () => number): Recipe<K> {
  let rest = random() * recipes.reduce((sum, recipe) => sum + recipe.weight, 0)
  for (const recipe of recipes) {
    rest -= recipe.weight
    if (rest < 0) return recipe
  }
  return recipes.at(-1)!
}

/** All ids of a table, as one text: half a million rows in one value cost a tenth of what they cost one by one. */
async function readKeys(pool: pg.Pool, table: string): Promise<string[]> {
  const { rows } = await pool.query<{ ids: string | null }>(`select string_agg(id::text, ',') as ids from ${table}`)
  return rows[0]?.ids?.split(',') ?? []
}

/** Deals the keys out to lanes. New keys lie above all present ones, and no two lanes make the same. */
function dealOut(present: readonly string[], lanes: number, makeId: (number: number) => string = String): Keys[] {
  const largest = present.reduce((max, id) => Math.max(max, numberOf(id)), 0)
  return Array.from({ length: lanes }, (_, lane) => {
    let next = largest + 1 + lane
    const makeFresh = () => {
      const id = makeId(next)
      next += lanes
      return id
    }
    return new LiveKeys(
      present.filter((_id, index) => index % lanes === lane),
      makeFresh,
    )
  })
}

/** The number that an id was made from, be it large or small. */
function numberOf(id: string): number {
  return Number(id.length < 16 ? id : BigInt(id) - LARGE_ID_BASE)
}

function makeInvoiceId(number: number): string {
  return number % LARGE_ID_EVERY === 0 ? String(LARGE_ID_BASE + BigInt(number)) : String(number)
}

/** mulberry32: small, fast, good enough to choose rows with. */
function createRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
