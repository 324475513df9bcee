// A simulated process: the log, the engine and its checkpoints on a simulated disk, and everything that waits for a turn in it.
import { type EmbeddedLog, openEmbeddedLog } from '../../core/index.ts'
import {
  type Engine,
  type EngineEvent,
  findSavepoint,
  localCrew,
  openEngine,
  openShardedEngine,
  partsOf,
} from '../../projections/index.ts'
import type { Random } from '../support/random.ts'
import type { SimulatedDisk } from '../support/simulated-disk.ts'
import type { Simulated, Workload } from './applications.ts'
import { inTurns, settled, Turns } from './turns.ts'

export const NEVER_MS = 2 ** 31 - 1
/** Small, so that a run has several. */
const SEGMENT_BYTES = 16 * 1024
/** A run that takes more turns to come to rest does not come to rest. */
const TURNS_MAX = 200_000
/** Rounds of the event loop in which nobody asks for a turn. */
const IDLE_MAX = 1_000

export interface ProcessOptions {
  readonly random: Random
  readonly disk: SimulatedDisk
  readonly simulated: Simulated
  readonly shards: number
  readonly fingerprint: string
  /** Whether closed segments of the log are sealed. */
  readonly seal: boolean
  /** The name of one to begin with. */
  readonly savepoint: string | undefined
  readonly continueFrom: readonly string[]
  /** The clock at its start, milliseconds since 1970. */
  readonly nowMs: number
  readonly trace: (event: string) => void
}

export class Process {
  readonly options: ProcessOptions
  readonly turns: Turns
  #log: EmbeddedLog | undefined
  #engine: Engine | undefined
  #workload: Workload | undefined

  private constructor(options: ProcessOptions) {
    this.options = options
    this.turns = new Turns(options.random, options.nowMs, options.trace)
  }

  static async start(options: ProcessOptions): Promise<Process> {
    const process = new Process(options)
    try {
      await process.during(process.#open())
      return process
    } catch (error) {
      await process.stop()
      throw error
    }
  }

  async #open(): Promise<void> {
    const { disk, simulated, fingerprint, random, shards, seal, savepoint, continueFrom, trace } = this.options
    const { turns } = this
    const fs = inTurns(disk, turns)
    // Compressing goes to threads of the runtime, whose turns no seed decides; test/core/log has it.
    this.#log = await openEmbeddedLog({
      path: '/log',
      fileSystem: fs,
      segmentBytesMax: SEGMENT_BYTES,
      seal,
      compression: 'none',
      clock: () => Math.floor(turns.nowMs()),
    })
    this.#workload = simulated.workload(this.#log, random)
    await this.#workload.open()
    const { log, sliceMs, parts } = {
      log: this.#log,
      sliceMs: random.pick([0, 0.05, 1]),
      parts: partsOf(simulated.app),
    }
    const engine = {
      log,
      parts,
      path: '/views',
      fs,
      fingerprint,
      checkpointIntervalMs: NEVER_MS,
      sliceMs,
      scheduler: turns,
      wallClockMs: () => Math.floor(turns.nowMs()),
      continueFrom,
      ...(savepoint === undefined ? {} : { savepoint: await findSavepoint(fs, '/savepoints', savepoint) }),
      onEvent: (event: EngineEvent) => trace(`event ${event.event}`),
    }
    const crew = { count: shards, path: '/views', fs, log, parts, sliceMs, scheduler: turns, schedule: turns.schedule }
    this.#engine = shards === 1 ? await openEngine(engine) : await openShardedEngine(engine, localCrew(crew))
  }

  get log(): EmbeddedLog {
    return this.#log!
  }

  get engine(): Engine {
    return this.#engine!
  }

  get workload(): Workload {
    return this.#workload!
  }

  /** A workload that begins with what the log has: one that was refused something knows less. */
  async renewWorkload(): Promise<void> {
    const workload = this.options.simulated.workload(this.log, this.options.random)
    await workload.open()
    this.#workload = workload
  }

  /** Gives turns until something is done. */
  async during<T>(done: Promise<T>): Promise<T> {
    let ended = false
    const end = () => {
      ended = true
    }
    done.then(end, end)
    await settled()
    for (let [turns, idle] = [0, 0]; !ended; turns++) {
      idle = this.turns.idle ? idle + 1 : 0
      if (turns > TURNS_MAX || idle > IDLE_MAX) throw new Error('the simulated process does not come to rest')
      await this.turns.step()
    }
    return done
  }

  /** Ends it, without looking at what comes of that. */
  async stop(): Promise<void> {
    this.turns.free()
    await this.#engine?.stop()
    await this.#log?.close()
  }
}
