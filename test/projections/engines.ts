// A log in a folder of its own and engines that fold it: all of a test, or of a file, ended and removed together.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedLog, type EmbeddedLogOptions, openEmbeddedLog } from '../../core/index.ts'
import {
  type Application,
  type Engine,
  type EngineOptions,
  localCrew,
  openEngine,
  openShardedEngine,
  partsOf,
  realScheduler,
} from '../../projections/index.ts'

export class Engines {
  readonly folder: string
  readonly log: EmbeddedLog
  /** Those that run, in the order in which they were opened. */
  readonly all: Engine[] = []

  private constructor(folder: string, log: EmbeddedLog) {
    this.folder = folder
    this.log = log
  }

  static async over(options: Omit<EmbeddedLogOptions, 'path'> = {}): Promise<Engines> {
    const folder = await mkdtemp(join(tmpdir(), 'mainstem-engines-'))
    return new Engines(folder, await openEmbeddedLog({ ...options, path: join(folder, 'log') }))
  }

  /** @param shards 0: one, in this thread; otherwise so many behind channels @param options default: a folder for each number of shards */
  async open(app: Application, shards: number, options: Partial<EngineOptions> = {}): Promise<Engine> {
    const parts = partsOf(app)
    const path = join(this.folder, `views${shards}`)
    const all = { fingerprint: 'f', path, ...options, log: this.log, parts }
    const crew = { sliceMs: 1, scheduler: realScheduler, ...all, count: shards }
    const engine = shards === 0 ? await openEngine(all) : await openShardedEngine(all, localCrew(crew))
    this.all.push(engine)
    return engine
  }

  async stop(): Promise<void> {
    for (const engine of this.all.splice(0)) await engine.stop()
  }

  async end(): Promise<void> {
    await this.stop()
    await this.log.close()
    await rm(this.folder, { recursive: true, force: true })
  }
}
