// Shards that stand ready behind channels. Here those that run in the calling thread: for tests, and where a seed decides when a
// message comes; others run in threads of their own (thread-crew.ts). The shards are the same.
import { channelPair, type ReadableLog, type Schedule } from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import type { PeerChannel } from './exchange.ts'
import type { CoordinatorChannel, ShardChannel } from './messages.ts'
import type { Scheduler } from './scheduler.ts'
import { Shard } from './shard.ts'
import { ShardServer } from './shard-server.ts'

export interface ShardCrew {
  /** To each shard. */
  readonly channels: readonly ShardChannel[]
  /** Resolves when all have ended. */
  close(): Promise<void>
}

export interface LocalCrewOptions {
  readonly count: number
  /** Read by all. */
  readonly log: Pick<ReadableLog, 'read' | 'base'>
  readonly parts: ApplicationParts
  readonly scheduler: Scheduler
  readonly sliceMs: number
  /** For all together. */
  readonly stateBytesMax?: number | undefined
  /** When messages arrive. Default: at the end of the turn. */
  readonly schedule?: Schedule
}

export function localCrew({ count, schedule, stateBytesMax, ...rest }: LocalCrewOptions): ShardCrew {
  const peers = peersAmong<PeerChannel>(count, () => channelPair(schedule))
  const channels: ShardChannel[] = []
  const servers = peers.map((peers, shard) => {
    const [here, there]: readonly [ShardChannel, CoordinatorChannel] = channelPair(schedule)
    channels.push(here)
    const bytesMax = stateBytesMax === undefined ? undefined : stateBytesMax / count
    return new ShardServer(new Shard({ ...rest, stateBytesMax: bytesMax, among: { shard, peers } }), there)
  })
  return {
    channels,
    async close() {
      for (const channel of channels) channel.close()
      await Promise.all(servers.map(server => server.closed))
    },
  }
}

/** For each of several, its ends of what leads to the others. */
export function peersAmong<T>(count: number, pair: () => readonly [T, T]): readonly (readonly (T | undefined)[])[] {
  const ends: (T | undefined)[][] = Array.from({ length: count }, () => new Array<T | undefined>(count).fill(undefined))
  for (let a = 0; a < count; a++) for (let b = a + 1; b < count; b++) [ends[a]![b], ends[b]![a]] = pair()
  return ends
}
