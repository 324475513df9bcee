// Shards in threads of their own, each with channels to the coordinator, to the log and to the other shards.
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import {
  type EmbeddedLog,
  type FollowChannel,
  portChannel,
  reportOf,
  type SharedBlockMemory,
  sharedBlockMemory,
} from '../../core/index.ts'
import type { Application } from '../application.ts'
import { StateMemory } from '../state/memory.ts'
import { peersAmong, type ShardCrew } from './crew.ts'
import { type DefinitionPlace, placeOf, SHARD_THREAD } from './definition.ts'
import type { FromShard, ShardChannel, ToShard } from './messages.ts'
import { SLICE_MS } from './slice-size.ts'
import { Thread } from './thread.ts'

/** Sources as Node runs them, or as they are published. */
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const WORKER = new URL(`./shard-worker.${extension}`, import.meta.url)

/** A shard that was asked to end does so at the end of what it folds, which is a slice: after so long it is stuck in a handler. */
const CLOSE_MS_MAX = 5_000

/** That a thread has ended is known here so long after the others noticed it, at most. */
const CAUSE_MS_MAX = 1_000

/** What a shard's thread is given. */
export interface ShardData {
  readonly kind: typeof SHARD_THREAD
  readonly definition: DefinitionPlace
  /** Which of the shards it is. */
  readonly among: number
  readonly ports: {
    readonly coordinator: MessagePort
    readonly log: MessagePort
    /** To each of the shards; none to itself. */
    readonly peers: readonly (MessagePort | undefined)[]
  }
  /** Where those that are several have the blocks that they read. */
  readonly sharedBlocks: SharedBlockMemory | undefined
  /** Of the checkpoints. */
  readonly path: string
  readonly sliceMs: number
  /** For all together. */
  readonly stateBytesMax: number
}

export interface ThreadCrewOptions {
  readonly count: number
  /** Whose topics are registered. */
  readonly log: Pick<EmbeddedLog, 'follow'>
  /** Its file's default export. */
  readonly application: Application
  /** Folder of the checkpoints. */
  readonly path: string
  /** Longest run without a yield, milliseconds. Default 2. */
  readonly sliceMs?: number | undefined
  /** For all together. Default: as for one shard. */
  readonly stateBytesMax?: number | undefined
  /** URLs of modules that threads import before the application's file: those by which it finds its packages. */
  readonly preload?: readonly string[]
  /** How long a shard that is asked to end may take, before its thread is ended; milliseconds, default 5,000. */
  readonly closeMsMax?: number
}

/**
 * Resolves when all have loaded the application and stand ready; none is left where one cannot.
 * @throws APPLICATION_INVALID, SHARD_FAILED
 */
export async function startThreadCrew(options: ThreadCrewOptions): Promise<ShardCrew> {
  const { count, application, preload, closeMsMax = CLOSE_MS_MAX } = options
  const definition = placeOf(application, preload)
  const peers = peersAmong<MessagePort>(count, () => {
    const { port1, port2 } = new MessageChannel()
    return [port1, port2]
  })
  const sharedBlocks = count > 1 ? sharedBlockMemory(count) : undefined
  const threads = peers.map((peers, among) => startShard(options, { definition, among, sharedBlocks }, peers))
  try {
    await Promise.all(threads.map(thread => thread.started))
  } catch (error) {
    await Promise.all(threads.map(thread => thread.terminate()))
    throw error
  }
  return {
    channels: threads.map(thread => withCause(thread.channel, threads)),
    close: async () => {
      await Promise.all(threads.map(thread => closed(thread, closeMsMax)))
    },
  }
}

type ShardThread = Thread<ToShard, FromShard>

function startShard(
  { log, path, sliceMs = SLICE_MS, stateBytesMax }: ThreadCrewOptions,
  place: Pick<ShardData, 'definition' | 'among' | 'sharedBlocks'>,
  peers: readonly (MessagePort | undefined)[],
): ShardThread {
  const coordinator = new MessageChannel()
  const followed = new MessageChannel()
  const follow: FollowChannel = portChannel(followed.port1)
  log.follow(follow)
  const data: ShardData = {
    kind: SHARD_THREAD,
    ...place,
    ports: { coordinator: coordinator.port2, log: followed.port2, peers },
    path,
    sliceMs,
    stateBytesMax: new StateMemory(stateBytesMax).bytesMax,
  }
  return new Thread({
    file: WORKER,
    name: `shard ${place.among}`,
    data,
    transfer: [coordinator.port2, followed.port2, ...peers.flatMap(port => port ?? [])],
    channel: portChannel(coordinator.port1),
    failed: error => ({ type: 'failed', error: reportOf(error) }),
  })
}

/** Where one ends, others find that it has: what is told is why it did. */
function withCause(channel: ShardChannel, threads: readonly ShardThread[]): ShardChannel {
  const cause = Promise.race(threads.map(thread => thread.failed))
  const late = (): Promise<undefined> => new Promise(resolve => setTimeout(resolve, CAUSE_MS_MAX, undefined).unref())
  const known = () => Promise.race([cause, late()])
  return {
    ...channel,
    listen: (onMessage, onClose) =>
      channel.listen(
        async message => {
          if (message.type !== 'failed' || message.error.code !== 'SHARD_FAILED') return onMessage(message)
          const error = await known()
          onMessage(error ? { type: 'failed', error: reportOf(error) } : message)
        },
        // After what was received before it.
        async () => {
          await known()
          onClose?.()
        },
      ),
  }
}

/** It ends by itself when its channel closes, unless it is stuck in a handler. */
async function closed(thread: ShardThread, msMax: number): Promise<void> {
  thread.channel.close()
  const stuck = setTimeout(() => void thread.terminate(), msMax)
  await thread.ended
  clearTimeout(stuck)
}
