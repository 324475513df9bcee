// The engine as options say: one shard in this thread, where reads are answered without a wait, or several in threads of their own.
import { availableParallelism } from 'node:os'
import { type EmbeddedLog, fail } from '../core/index.ts'
import {
  type Application,
  type Engine,
  type EngineOptions,
  openEngine,
  openShardedEngine,
  startThreadCrew,
} from '../projections/index.ts'

/** As many as there are groups of keys. */
export const SHARDS_MAX = 128
/** Where the application's file finds no `mainstem` of its own, it finds this one: in threads as on the command line. */
const RESOLVE_HOOK = new URL('./resolve-hook.mjs', import.meta.url).href

/** Threads beside that of HTTP, sources and the log; none where one of them would have to share its core with it. */
export const shardsFor = (cores: number): number | undefined =>
  cores > 2 ? Math.min(cores - 1, SHARDS_MAX) : undefined

export interface AnyEngineOptions extends EngineOptions {
  readonly log: EmbeddedLog
  readonly application: Application
  /** In threads. Default: one, in this thread. */
  readonly shards: number | 'auto' | undefined
}

/** @throws as `openEngine` and `startThreadCrew`; REQUEST_INVALID for a number of shards that there cannot be */
export async function openAnyEngine({ application, shards: wanted, ...options }: AnyEngineOptions): Promise<Engine> {
  const shards = wanted === 'auto' ? shardsFor(availableParallelism()) : wanted
  if (shards === undefined) return openEngine(options)
  if (!Number.isInteger(shards) || shards < 1 || shards > SHARDS_MAX)
    throw fail('REQUEST_INVALID', `shards: expected a whole number from 1 to ${SHARDS_MAX}, received ${shards}`)
  const { log, path, sliceMs, stateBytesMax } = options
  const crew = await startThreadCrew({
    count: shards,
    log,
    path,
    application,
    sliceMs,
    stateBytesMax,
    preload: [RESOLVE_HOOK],
  })
  try {
    return await openShardedEngine(options, crew)
  } catch (error) {
    await crew.close()
    throw error
  }
}
