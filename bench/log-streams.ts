// The log as an event store: streams of 100 events whose events lie far apart, loaded in random order, warm.
import { join } from 'node:path'
import { z } from 'zod'
import { compileContract, openEmbeddedLog } from '../core/index.ts'
import { median, ROUNDS } from './harness.ts'
import { appendEvents, check, inFolder, type Part, scaled, sealAll } from './log-data.ts'

const STREAM_EVENTS = 100
const STREAMS = scaled(100_000, 100)
const EVENTS = STREAMS * STREAM_EVENTS
const LOADS = 5_000
/** Before the first round: enough that nearly every page of the key index was read once. */
const WARMING_LOADS = 20_000

const KINDS = ['deposit', 'withdrawal', 'fee'] as const
const contract = compileContract(
  'accounts',
  'topic',
  z.object({ account: z.int(), kind: z.enum(KINDS), cents: z.int() }),
  'account',
)

/** Each turn writes one event of each stream, in an order of its own. */
const accountOf = (n: number): number => ((n % STREAMS) * 7919 + Math.floor(n / STREAMS) * 31) % STREAMS

const centsOf = (account: number, version: number): number => (account * 37 + version * 101) % 10_000

export const streams = (): Promise<Part> =>
  inFolder(async folder => {
    const path = join(folder, 'streams')
    const writeSeconds = await write(path)
    const sealSeconds = await sealAll(path)
    await using log = await openEmbeddedLog({ path })
    const accounts = await log.topic(contract)
    const load = async (account: number) => {
      let [version, cents] = [0, 0]
      for await (const record of log.stream(accounts, account)) {
        version++
        check(record.version === version, `stream ${account} has version ${record.version} at ${version}`)
        cents += record.event['cents'] as number
      }
      return version === STREAM_EVENTS ? cents : -1
    }
    const rounds: { p50: number; p99: number; max: number }[] = []
    let seed = 7
    for (let round = 0; round <= ROUNDS; round++) {
      const took: number[] = []
      for (let n = 0; n < (round === 0 ? WARMING_LOADS : LOADS); n++) {
        seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
        const account = seed % STREAMS
        const startedMs = performance.now()
        const cents = await load(account)
        took.push(performance.now() - startedMs)
        check(cents === expected(account), `stream ${account} adds up to ${cents}`)
      }
      took.sort((a, b) => a - b)
      if (round > 0) rounds.push({ p50: took[LOADS / 2]!, p99: took[(LOADS * 99) / 100]!, max: took.at(-1)! })
    }
    const { segments } = log.status()
    return {
      goals: [
        {
          name: 'stream load p99',
          value: median(rounds.map(({ p99 }) => p99)),
          goal: 1,
          unit: 'ms',
          atMost: true,
          equal: null,
        },
      ],
      figures: {
        'stream load: events': EVENTS,
        'stream load: streams': STREAMS,
        'stream load: segments': segments,
        'stream load: loads per round': LOADS,
        'stream load: loads to warm up': WARMING_LOADS,
        'stream load: p50 ms': median(rounds.map(({ p50 }) => p50)),
        'stream load: p99 ms by round': rounds.map(({ p99 }) => p99.toFixed(3)).join(' '),
        'stream load: max ms': Math.max(...rounds.map(({ max }) => max)),
        'stream load: append seconds, sealing along': writeSeconds,
        'stream load: seconds to seal the rest': sealSeconds,
        'append and seal all of it, events/s': EVENTS / (writeSeconds + sealSeconds),
      },
    }
  })

function expected(account: number): number {
  let sum = 0
  for (let version = 1; version <= STREAM_EVENTS; version++) sum += centsOf(account, version)
  return sum
}

async function write(path: string): Promise<number> {
  await using log = await openEmbeddedLog({ path })
  const accounts = await log.topic(contract)
  const startedMs = performance.now()
  await appendEvents(log, EVENTS, (batch, n) => {
    const account = accountOf(n)
    const cents = centsOf(account, Math.floor(n / STREAMS) + 1)
    batch.event(accounts, { account, kind: KINDS[n % 3], cents })
  })
  return (performance.now() - startedMs) / 1000
}
