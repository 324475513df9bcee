// Many rows in one answer: a hundred by their keys, at one cut, and a hundred in the order of keys.
import { median } from '../harness.ts'
import { CUSTOMERS, check, type Part, scaled } from '../log-data.ts'
import { type Loaded, LoadGenerator } from './load.ts'
import { getJson, ORDERS, ordersData, startOrders, VIEW_PATH } from './orders.ts'
import type { Usage } from './usage.ts'

const ROWS = 100
const CONNECTIONS = 64
const ROUNDS = 5
const SECONDS = scaled(4)
const KINDS = ['lookup', 'range'] as const

interface Entry {
  readonly key: number
  readonly value: object
}

export async function lookups(folder: string, say: (what: string) => void): Promise<Part> {
  const dataDir = await ordersData(folder, ORDERS)
  await using stack = new AsyncDisposableStack()
  const { url, child } = await startOrders(dataDir)
  stack.use(child)
  await compare(url)
  const generator = stack.use(new LoadGenerator())
  const runs: Record<(typeof KINDS)[number], (Loaded & { readonly cpuUs: number })[]> = { lookup: [], range: [] }
  // The first one is for compilers.
  for (let round = 0; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`)
    for (const kind of KINDS) {
      const path = kind === 'lookup' ? `${VIEW_PATH}/lookup` : `${VIEW_PATH}/rows`
      const load = { url, kind, path, keys: CUSTOMERS, rows: ROWS, connections: CONNECTIONS }
      const before = await child.ask<Usage>('took')
      const loaded = await generator.run({ ...load, warmupSeconds: 1, seconds: SECONDS })
      const { cpuSeconds } = await child.ask<Usage>('took')
      if (round > 0)
        runs[kind].push({ ...loaded, cpuUs: ((cpuSeconds - before.cpuSeconds) * 1e6) / loaded.allAnswers / ROWS })
    }
  }
  const figures: Record<string, number> = {}
  const of = (kind: (typeof KINDS)[number], figure: 'perSecond' | 'p50Ms' | 'p99Ms' | 'cpuUs' | 'cpuShare') =>
    median(runs[kind].map(run => run[figure]))
  for (const kind of KINDS) {
    figures[`${kind} of ${ROWS}: rows/s`] = of(kind, 'perSecond') * ROWS
    figures[`${kind} of ${ROWS}: ms, p50`] = of(kind, 'p50Ms')
    figures[`${kind} of ${ROWS}: ms, p99`] = of(kind, 'p99Ms')
    figures[`${kind} of ${ROWS}: microseconds of the server's CPU for a row`] = of(kind, 'cpuUs')
    figures[`${kind} of ${ROWS}: share of a core that the load generator took`] = of(kind, 'cpuShare')
  }
  return {
    goals: [
      {
        name: 'lookups by batches of 100 as JSON',
        value: of('lookup', 'perSecond') * ROWS,
        goal: 250_000,
        unit: 'rows/s',
        equal: true,
      },
    ],
    figures,
  }
}

/** A lookup, a range and reads one by one give the same rows. */
async function compare(url: string): Promise<void> {
  const from = 4_200
  const keys = Array.from({ length: ROWS }, (_, n) => from + n)
  const { values } = await getJson<{ values: readonly Entry[] }>(`${url}${VIEW_PATH}/lookup`, { keys })
  const { rows } = await getJson<{ rows: readonly Entry[] }>(`${url}${VIEW_PATH}/rows?from=${from}&limit=${ROWS}`)
  const single = await Promise.all(keys.map(key => getJson<Entry>(`${url}${VIEW_PATH}/rows/${key}`)))
  const text = (entries: readonly Entry[]) => JSON.stringify(entries.map(({ key, value }) => [key, value]))
  check(text(values) === text(single), 'a lookup gives other rows than reads of its keys')
  check(text(rows) === text(single), 'a range gives other rows than reads of its keys')
}
