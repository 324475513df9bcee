// What the reads of a view are compared with, each a server of its own with the same rows; those that cannot run here say why.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findFreePort } from '../../samples/support/free-port.ts'
import { openPostgresServer } from '../../samples/support/postgres-server.ts'
import { CUSTOMERS, check, orderSource } from '../log-data.ts'
import { writeRecords } from '../orders-data.ts'
import { Peers, whyNoPeers } from '../peers.ts'
import { Child } from './child.ts'
import { ORDERS, type Side, startSide } from './orders.ts'
import type { PeerTold } from './peer-server.ts'

export const FASTIFY = 'Fastify, the same bytes'
export const POSTGRES = 'PostgreSQL behind Fastify'
export const REDIS = 'Redis behind Fastify'
export const STREAMS = 'Kafka Streams behind Netty'
/** Says what the load generator can. */
export const BARE = 'a bare socket'

const TOPIC = 'orders'
const START_MS_MAX = 10_000

export interface Started {
  readonly sides: readonly Side[]
  /** By side, why it is not there. */
  readonly missing: Readonly<Record<string, string>>
}

/** Starts all that can run here; they end with `stack`. */
export async function startPeers(
  ours: Side,
  folder: string,
  stack: AsyncDisposableStack,
  say: (what: string) => void,
): Promise<Started> {
  const missing: Record<string, string> = {}
  const peer = (name: string, side: PeerTold['side'], store?: string) => {
    const told: PeerTold = { side, url: ours.url, keys: CUSTOMERS, ...(store === undefined ? {} : { store }) }
    return startSide(name, stack.use(Child.start('peer-server.ts', told)))
  }
  const sides = [await peer(FASTIFY, 'fastify')]
  say(POSTGRES)
  const database = await openPostgresServer()
  stack.defer(() => database.stop())
  sides.push(await peer(POSTGRES, 'postgres', database.url()))
  const noRedis = whyNoRedis()
  if (noRedis === undefined) sides.push(await peer(REDIS, 'redis', await startRedis(stack)))
  else missing[REDIS] = noRedis
  const noPeers = whyNoPeers()
  if (noPeers === undefined) {
    say(STREAMS)
    sides.push(await startSide(STREAMS, stack.use(new Child(await startStreams(folder, stack)))))
  } else missing[STREAMS] = noPeers
  return { sides: [...sides, await peer(BARE, 'bare')], missing }
}

const whyNoRedis = (): string | undefined =>
  spawnSync('redis-server', ['--version']).status === 0 ? undefined : 'no Redis (apt-get install redis-server)'

/** In memory only. Gives its URL. */
async function startRedis(stack: AsyncDisposableStack): Promise<string> {
  const port = await findFreePort()
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const server: ChildProcess = spawn('redis-server', options, { stdio: 'ignore' })
  stack.defer(async () => {
    const exited = once(server, 'exit')
    server.kill()
    await exited
  })
  const untilMs = performance.now() + START_MS_MAX
  while (
    spawnSync('redis-cli', ['-p', String(port), 'ping'])
      .stdout.toString()
      .trim() !== 'PONG'
  ) {
    check(performance.now() < untilMs && server.exitCode === null, 'Redis does not start')
    await sleep(50)
  }
  return `redis://127.0.0.1:${port}`
}

async function startStreams(folder: string, stack: AsyncDisposableStack): Promise<ChildProcess> {
  const peers = stack.use(await Peers.open(folder))
  const input = join(folder, 'query-orders.bin')
  await writeRecords(input, orderSource(), ORDERS)
  await peers.load(TOPIC, input, 'binary')
  return peers.reads(TOPIC, ORDERS)
}
