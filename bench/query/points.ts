// Rows by key, one a request, from 64 connections without pipelining: a view, and what people have instead, in turn. Each side answers for
// the same customers; some of its rows are compared with ours before it is measured, and each answer is looked at.
import { join } from 'node:path'
import { median } from '../harness.ts'
import { CUSTOMERS, check, type Part, scaled } from '../log-data.ts'
import { writeLog } from '../replay/ours.ts'
import { Child } from './child.ts'
import { type Loaded, LoadGenerator } from './load.ts'
import type { PeerTold } from './peer-server.ts'

/** So many that each customer has one. */
const ORDERS = 1_500_000
const CONNECTIONS = 64
const ROUNDS = 5
const WARMUP_SECONDS = 1
const SECONDS = scaled(4)
const COMPARED = 1_000

export const ROWS_PATH = '/v1/views/customers/rows/'

interface Side {
  readonly name: string
  readonly url: string
  readonly child: Child
}

export async function points(folder: string, say: (what: string) => void): Promise<Part> {
  const dataDir = join(folder, 'points')
  say(`${ORDERS} orders`)
  await writeLog(dataDir, 'orders', ORDERS)
  const started = async (name: string, child: Child): Promise<Side> => ({ name, child, url: await child.line() })
  await using stack = new AsyncDisposableStack()
  const ours = await started('mainstem', stack.use(Child.start('server.ts', { app: 'orders', dataDir })))
  const peer = (side: PeerTold['side']) => {
    const told: PeerTold = { side, url: ours.url, keys: CUSTOMERS }
    return stack.use(Child.start('peer-server.ts', told))
  }
  const sides = [
    ours,
    await started('Fastify, the same bytes', peer('fastify')),
    await started('a bare socket', peer('bare')),
  ]
  for (const side of sides) await compare(side, ours)
  const generator = stack.use(new LoadGenerator())
  const runs = new Map<string, Loaded[]>(sides.map(({ name }) => [name, []]))
  for (let round = 1; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`)
    for (const { name, url } of sides) {
      const load = { url, path: ROWS_PATH, keys: CUSTOMERS, connections: CONNECTIONS }
      runs
        .get(name)!
        .push(await generator.run({ kind: 'row', ...load, warmupSeconds: WARMUP_SECONDS, seconds: SECONDS }))
    }
  }
  const of = (name: string, figure: keyof Loaded) => median(runs.get(name)!.map(run => run[figure]))
  const ratio = (name: string) =>
    median(runs.get(name)!.map((run, n) => runs.get(ours.name)![n]!.perSecond / run.perSecond))
  const figures: Record<string, number> = {}
  for (const { name } of sides) {
    figures[`points, ${name}: reads/s`] = of(name, 'perSecond')
    figures[`points, ${name}: ms, p50`] = of(name, 'p50Ms')
    figures[`points, ${name}: ms, p99`] = of(name, 'p99Ms')
    figures[`points, ${name}: share of a core that the load generator took`] = of(name, 'cpuShare')
  }
  return {
    goals: [
      {
        name: 'point reads vs a Fastify route returning the same bytes',
        value: ratio('Fastify, the same bytes'),
        goal: 0.8,
        unit: '×',
        equal: true,
      },
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
