// Ten thousand subscribers on one view, over HTTP: server, subscribers and whoever appends are processes of their own. Each change goes to
// fifty of them, and each subscriber checks that it misses none.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { check, type Part, scaled } from '../log-data.ts'
import { Child } from './child.ts'
import type { Usage } from './usage.ts'

const SUBSCRIBERS = 10_000
const METERS = 200
/** A little more than what is wanted, so that a clock that is late does not miss it. */
const CHANGES_PER_SECOND = 1_020
const CHANGES_PER_APPEND = 10
const SECONDS = scaled(15)

interface Came {
  readonly deliveries: number
  /** That did not count up by one. */
  readonly wrong: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export async function subscribers(folder: string, say: (what: string) => void): Promise<Part> {
  await using server = Child.start('server.ts', { app: 'subscribers', dataDir: join(folder, 'subscribers') })
  const url = await server.line()
  say(`${SUBSCRIBERS} subscribers connect`)
  const connectingMs = performance.now()
  await using clients = Child.start('subscribers-clients.ts', { url, subscribers: SUBSCRIBERS, meters: METERS })
  check((await clients.line()) === 'ready', 'the subscribers do not begin')
  const connectedMs = performance.now() - connectingMs
  const came = () => clients.ask<Came>('said')
  say(`${CHANGES_PER_SECOND} changes a second for ${SECONDS} seconds`)
  const connected = await server.ask<Usage>('took')
  const startedMs = performance.now()
  const changes = await append(url)
  const wanted = (changes * SUBSCRIBERS) / METERS
  let seen = await came()
  while (seen.deliveries < wanted && performance.now() - startedMs < SECONDS * 3_000) {
    await sleep(20)
    seen = await came()
  }
  const seconds = (performance.now() - startedMs) / 1_000
  const { cpuSeconds, rss } = await server.ask<Usage>('took')
  const equal = seen.deliveries === wanted && seen.wrong === 0
  return {
    goals: [
      {
        name: '10,000 subscribers, 50,000 deliveries/s, none lost',
        value: seen.deliveries / seconds,
        goal: 50_000,
        unit: 'deliveries/s',
        equal,
      },
    ],
    figures: {
      'subscribers: deliveries': seen.deliveries,
      'subscribers: missed or doubled': wanted - seen.deliveries + seen.wrong,
      'subscribers: ms from before the append to the subscriber, p50': seen.p50Ms,
      'subscribers: ms from before the append to the subscriber, p99': seen.p99Ms,
      'subscribers: connected/s': SUBSCRIBERS / (connectedMs / 1_000),
      'subscribers: CPU seconds of the server, connecting too': cpuSeconds,
      "subscribers: microseconds of the server's CPU for a delivery, its share of folding and appending too":
        ((cpuSeconds - connected.cpuSeconds) * 1e6) / seen.deliveries,
      'subscribers: MiB of the server': rss / 2 ** 20,
    },
  }
}

/** Appends in time, whether or not the answers have come; gives how many changes there were. */
async function append(url: string): Promise<number> {
  const appends = Math.round((CHANGES_PER_SECOND * SECONDS) / CHANGES_PER_APPEND)
  const startedMs = performance.now()
  const answers: Promise<void>[] = []
  let meter = 0
  for (let n = 0; n < appends; n++) {
    const dueMs = startedMs + (n * CHANGES_PER_APPEND * 1_000) / CHANGES_PER_SECOND
    const early = dueMs - performance.now()
    if (early > 0.5) await sleep(early)
    const records = Array.from({ length: CHANGES_PER_APPEND }, () => {
      meter = (meter + 1) % METERS
      return { meter, watts: n, atMs: performance.timeOrigin + performance.now() }
    })
    answers.push(appended(url, records))
  }
  await Promise.all(answers)
  return appends * CHANGES_PER_APPEND
}

async function appended(url: string, records: readonly object[]): Promise<void> {
  const response = await fetch(`${url}/v1/topics/readings`, { method: 'POST', body: JSON.stringify(records) })
  const text = await response.text()
  check(response.ok, `an append was answered ${response.status} ${text.slice(0, 300)}`)
}
