// Shards that stand ready behind channels. Here those that run in the calling thread: for tests, and where a seed decides when a
// message comes; others run in threads of their own (thread-crew.ts). The shards are the same.
import { channelPair, type FileSystem, nodeFileSystem, type ReadableLog, type Schedule } from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import { StateMemory } from '../state/memory.ts'
import type { PeerChannel } from './exchange.ts'
import { membershipOf } from './membership.ts'
import type { CoordinatorChannel, ShardChannel } from './messages.ts'
import type { Scheduler } from './scheduler.ts'
import { type Among, Shard } from './shard.ts'
import { ShardServer } from './shard-server.ts'

export interface ShardCrew {
  /** To each shard. */
  readonly channels: readonly ShardChannel[]
  /** Resolves when all have ended. */
  close(): Promise<void>
}

/** What a shard works on. */
export interface ShardPlace {
  /** Read by all. */
  readonly log: Pick<ReadableLog, 'id' | 'read' | 'base'>
  readonly parts: ApplicationParts
  readonly scheduler: Scheduler
  readonly sliceMs: number
  /** Of the checkpoints. */
  readonly path: string
  readonly fs?: FileSystem
  /** For all together. */
  readonly stateBytesMax?: number | undefined
}

export interface LocalCrewOptions extends ShardPlace {
  readonly count: number
  /** When messages arrive. Default: at the end of the turn. */
  readonly schedule?: Schedule
}

export function localCrew(options: LocalCrewOptions): ShardCrew {
  const { count, schedule } = options
  const peers = peersAmong<PeerChannel>(count, () => channelPair(schedule))
  const channels: ShardChannel[] = []
  const servers = peers.map((peers, shard) => {
    const [here, there]: readonly [ShardChannel, CoordinatorChannel] = channelPair(schedule)
    channels.push(here)
    return serveShard(options, { shard, peers }, there)
  })
  return {
    channels,
    async close() {
      for (const channel of channels) channel.close()
      await Promise.all(servers.map(server => server.closed))
    },
  }
}

/** One of several shards, behind a channel. */
export function serveShard(options: ShardPlace, among: Among, channel: CoordinatorChannel): ShardServer {
  const { log, path, fs = nodeFileSystem, scheduler, sliceMs } = options
  const bytesMax = (options.stateBytesMax ?? new StateMemory().bytesMax) / among.peers.length
  const shard = new Shard({ ...options, stateBytesMax: bytesMax, among })
  const place = { fs, folder: path, logId: log.id, shard: among.shard, scheduler, sliceMs }
  return new ShardServer(shard, membershipOf(shard, place), channel)
}

/** For each of several, its ends of what leads to the others. */
export function peersAmong<T>(count: number, pair: () => readonly [T, T]): readonly (readonly (T | undefined)[])[] {
  const ends: (T | undefined)[][] = Array.from({ length: count }, () => new Array<T | undefined>(count).fill(undefined))
  for (let a = 0; a < count; a++) for (let b = a + 1; b < count; b++) [ends[a]![b], ends[b]![a]] = pair()
  return ends
}
