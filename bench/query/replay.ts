// Reads while a view is folded anew from its whole log, as fast as that goes: an open loop, whose latencies run from the moment at which a
// read was due, and a closed one. Replays come one after the other for as long as it is measured; each must find what the view has.
import { median } from '../harness.ts'
import { CUSTOMERS, check, type Part, scaled } from '../log-data.ts'
import { type Loaded, LoadGenerator } from './load.ts'
import { getJson, ordersData, ROWS_PATH, startOrders, VIEW_PATH } from './orders.ts'

const ORDERS = Math.max(2_000_000, scaled(10_000_000))
const READS_PER_SECOND = 5_000
const CONNECTIONS = 64
const ROUNDS = 5
const SECONDS = scaled(5)

interface Replay {
  readonly state: 'idle' | 'running' | 'done' | 'failed'
  readonly progress: { readonly position: number } | null
  readonly report: { readonly records: number; readonly views: readonly { readonly equal: boolean | null }[] } | null
}

export async function replay(folder: string, say: (what: string) => void): Promise<Part> {
  say(`${ORDERS} orders`)
  const dataDir = await ordersData(folder, ORDERS)
  await using stack = new AsyncDisposableStack()
  const { url, child } = await startOrders(dataDir)
  stack.use(child)
  const generator = stack.use(new LoadGenerator())
  const load = { url, kind: 'row', path: ROWS_PATH, keys: CUSTOMERS, connections: CONNECTIONS } as const
  const run = (perSecond?: number) =>
    generator.run({ ...load, warmupSeconds: 1, seconds: SECONDS, ...(perSecond === undefined ? {} : { perSecond }) })
  const runs: Record<'idle' | 'open' | 'closed', Loaded[]> = { idle: [], open: [], closed: [] }
  const folded: number[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`)
    runs.idle.push(await run(READS_PER_SECOND))
    const replays = new Replays(url)
    runs.open.push(await run(READS_PER_SECOND))
    folded.push(await replays.end())
    const others = new Replays(url)
    runs.closed.push(await run())
    await others.end()
  }
  const of = (what: keyof typeof runs, figure: keyof Loaded) => median(runs[what].map(each => each[figure]))
  return {
    goals: [
      {
        name: 'open loop of 5,000 reads/s during a replay p99',
        value: of('open', 'p99Ms'),
        goal: 15,
        unit: 'ms',
        atMost: true,
        equal: true,
      },
    ],
    figures: {
      'replay: records/s that are folded beside 5,000 reads/s': median(folded),
      'replay, 5,000 reads/s: answered/s': of('open', 'perSecond'),
      'replay, 5,000 reads/s: ms, p50': of('open', 'p50Ms'),
      'replay, 5,000 reads/s: ms at most': of('open', 'maxMs'),
      'no replay, 5,000 reads/s: ms, p50': of('idle', 'p50Ms'),
      'no replay, 5,000 reads/s: ms, p99': of('idle', 'p99Ms'),
      'replay, 64 connections: reads/s': of('closed', 'perSecond'),
      'replay, 64 connections: ms, p50': of('closed', 'p50Ms'),
      'replay, 64 connections: ms, p99': of('closed', 'p99Ms'),
    },
  }
}

/** One replay after the other. */
class Replays {
  readonly #url: string
  readonly #running: Promise<void>
  #ended = false
  #records = 0
  readonly #startedMs = performance.now()

  constructor(url: string) {
    this.#url = `${url}${VIEW_PATH}/replay`
    this.#running = this.#run()
    this.#running.catch(() => {})
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      let status = await getJson<Replay>(this.#url, {})
      while (status.state === 'running') {
        await new Promise(resolve => setTimeout(resolve, 20))
        status = await getJson<Replay>(this.#url)
      }
      const { report } = status
      check(status.state === 'done' && report !== null, `a replay has ended as ${status.state}`)
      check(
        report!.views.every(view => view.equal === true),
        'a replay has found other rows',
      )
      this.#records += report!.records
    }
  }

  /** Resolves when the last one has ended, with how many records were folded a second. */
  async end(): Promise<number> {
    this.#ended = true
    await this.#running
    return this.#records / ((performance.now() - this.#startedMs) / 1_000)
  }
}
