// A shard's thread: loads the application, follows the log, folds what it owns, and answers its coordinator until either side closes.
import { workerData } from 'node:worker_threads'
import { type FollowerChannel, followLog, installPurityGuards, portChannel } from '../../core/index.ts'
import { contractsOf } from '../application.ts'
import { serveShard } from './crew.ts'
import { loadDefinition } from './definition.ts'
import type { PeerChannel } from './exchange.ts'
import type { CoordinatorChannel } from './messages.ts'
import { realScheduler } from './scheduler.ts'
import { announceFailure, announceStart } from './thread.ts'
import type { ShardData } from './thread-crew.ts'

const { definition, ports, among, sharedBlocks, path, sliceMs, stateBytesMax } = workerData as ShardData
const peers = ports.peers.map((port): PeerChannel | undefined => port && portChannel(port))
const coordinator: CoordinatorChannel = portChannel(ports.coordinator)
const followed: FollowerChannel = portChannel(ports.log)
const following = followLog(followed, { shared: sharedBlocks && { memory: sharedBlocks, reader: among } })

try {
  const parts = await loadDefinition(definition)
  const log = await following
  for (const contract of contractsOf(parts)) await log.topic(contract)
  installPurityGuards()
  const place = { log, parts, path, scheduler: realScheduler, sliceMs, stateBytesMax }
  const server = serveShard(place, { shard: among, peers }, coordinator)
  announceStart()
  await server.closed
} catch (error) {
  announceFailure(error)
}
coordinator.close()
for (const peer of peers) peer?.close()
await following.then(log => log.close()).catch(() => {})
