// Rows by key, one a request, from 64 connections without pipelining: a view, and what people have instead, in turn. Each side answers for
// the same customers; some of its rows are compared with ours before it is measured, and each answer is looked at.
import { type Goal, median } from '../harness.ts'
import { CUSTOMERS, check, type Part, scaled } from '../log-data.ts'
import { type Loaded, LoadGenerator } from './load.ts'
import { ORDERS, ordersData, ROWS_PATH, type Side, startOrders } from './orders.ts'
import { FASTIFY, POSTGRES, STREAMS, startPeers } from './peers.ts'
import type { Usage } from './usage.ts'

const CONNECTIONS = 64
const ROUNDS = 5
const WARMUP_SECONDS = 1
const SECONDS = scaled(4)
const COMPARED = 1_000

/** With what an answer took of the server's CPU, microseconds. */
type Run = Loaded & { readonly cpuUs: number }

export async function points(folder: string, say: (what: string) => void): Promise<Part> {
  say(`${ORDERS} orders`)
  const dataDir = await ordersData(folder, ORDERS)
  await using stack = new AsyncDisposableStack()
  const ours = await startOrders(dataDir)
  stack.use(ours.child)
  const { sides: peers, missing } = await startPeers(ours, folder, stack, say)
  const sides = [ours, ...peers]
  for (const side of sides) await compare(side, ours)
  const generator = stack.use(new LoadGenerator())
  const runs = new Map<string, Run[]>(sides.map(({ name }) => [name, []]))
  // The first one is for compilers.
  for (let round = 0; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`)
    for (const { name, url, child } of sides) {
      const load = { url, path: ROWS_PATH, keys: CUSTOMERS, connections: CONNECTIONS }
      const before = await child.ask<Usage>('took')
      const loaded = await generator.run({ kind: 'row', ...load, warmupSeconds: WARMUP_SECONDS, seconds: SECONDS })
      const { cpuSeconds } = await child.ask<Usage>('took')
      const cpuUs = ((cpuSeconds - before.cpuSeconds) * 1e6) / loaded.allAnswers
      if (round > 0) runs.get(name)!.push({ ...loaded, cpuUs })
    }
  }
  const of = (name: string, figure: keyof Run) => median(runs.get(name)!.map(run => run[figure]))
  const goal = (name: string, peer: string, wanted: number): Goal => {
    const skipped = missing[peer]
    if (skipped !== undefined) return { name, value: null, goal: wanted, unit: '×', equal: null, skipped }
    const ratios = runs.get(peer)!.map((run, n) => runs.get(ours.name)![n]!.perSecond / run.perSecond)
    return { name, value: median(ratios), goal: wanted, unit: '×', equal: true }
  }
  const figures: Record<string, number> = {}
  for (const { name } of sides) {
    figures[`points, ${name}: reads/s`] = of(name, 'perSecond')
    figures[`points, ${name}: ms, p50`] = of(name, 'p50Ms')
    figures[`points, ${name}: ms, p99`] = of(name, 'p99Ms')
    figures[`points, ${name}: microseconds of the server's CPU for a read`] = of(name, 'cpuUs')
    figures[`points, ${name}: share of a core that the load generator took`] = of(name, 'cpuShare')
  }
  return {
    goals: [
      goal('point reads vs a Fastify route returning the same bytes', FASTIFY, 0.8),
      goal('point reads vs Kafka Streams HTTP', STREAMS, 1.5),
      goal('point reads vs PostgreSQL behind Fastify', POSTGRES, 2),
    ],
    figures,
  }
}

/** The key and the value of some rows are the same on both sides. */
async function compare(side: Side, ours: Side): Promise<void> {
  const read = async ({ url }: Side, key: number) => {
    const response = await fetch(`${url}${ROWS_PATH}${key}`)
    const { value } = (await response.json()) as { value: object }
    return JSON.stringify([key, response.status, value])
  }
  for (let n = 0; n < COMPARED; n++) {
    const key = Math.floor((n * CUSTOMERS) / COMPARED)
    const [one, other] = await Promise.all([read(side, key), read(ours, key)])
    check(one === other, `${side.name} answers ${one} where mainstem answers ${other}`)
  }
}
