// Runs the peers of bench/peers, each measurement in a JVM of its own, and gives what they print. A Kafka is started when
// the first topic is asked for, and ends with `close()`.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { maven, whyNoJava } from '../test/support/java.ts'
import { type KafkaServer, openKafka } from '../test/support/kafka.ts'
import type { EventsFormat } from './orders-data.ts'

const project = join(import.meta.dirname, 'peers')
const run = promisify(execFile)

/** 50 M events in the slowest peer would take longer, and are not asked of it. */
const RUN_TIMEOUT_MS = 900_000
/** Enough for 1 M keys, and all of it from the start, so that it does not grow while measured. */
const HEAP = ['-Xms4g', '-Xmx4g']
/** Flink's serializers look into these. */
const OPENS = ['lang', 'util'].map(name => `--add-opens=java.base/java.${name}=ALL-UNNAMED`)
/** Of all events; at most so many. */
const WARMUP_SHARE = 0.2
const WARMUP_MAX = 1_000_000

export interface PeerRun {
  /** With its state backend. */
  readonly peer: string
  readonly events: number
  /** Those after the warm-up, which `seconds` and `cpuSeconds` are of. */
  readonly measuredEvents: number
  readonly seconds: number
  /** Of the process and its descendants. */
  readonly cpuSeconds: number
  /** 0 where there is no broker. */
  readonly brokerCpuSeconds: number
  readonly rows: number
  /** Comparable with `resultOf` (bench/replay/work.ts). */
  readonly hash: number
  readonly maxRssBytes: number
  /** What its state takes on the heap, live after collections; 0 where that was not asked for. */
  readonly stateBytes: number
}

interface Work {
  readonly format: EventsFormat
  /** bench/peers/README.md says how they differ. */
  readonly reader: 'usual' | 'best'
  readonly events: number
  /** Tasks or threads. Default 1. */
  readonly parallelism?: number
}

export interface FlinkWork extends Work {
  /** What is folded, and how: bench/peers/README.md. Default orders. */
  readonly work?: 'orders' | 'uuid' | 'union' | 'stages'
  /** A file of its events. */
  readonly input: string
  /** To know what the state takes. */
  readonly heap?: 'measured'
  readonly backend: 'hashmap' | 'rocksdb'
}

export interface StreamsWork extends Work {
  /** As given to `load`. */
  readonly topic: string
  readonly backend: 'memory' | 'rocksdb'
  /** Of Kafka Streams' record cache. Default: its own default, 10 MiB. */
  readonly cacheBytes?: number
}

/** Why no peer can run here; undefined where they can. */
export const whyNoPeers = whyNoJava

export class Peers implements AsyncDisposable {
  readonly #folder: string
  #kafka: Promise<KafkaServer> | undefined

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Builds what has changed. `folder` is for checkpoints and state. @throws Error with Maven's words. */
  static async open(folder: string): Promise<Peers> {
    await maven(project, ['package'])
    return new Peers(folder)
  }

  async flink({ input, ...work }: FlinkWork): Promise<PeerRun> {
    return this.#measure('flink', 'FlinkPeer', { input, ...work })
  }

  /** Puts a file of orders into a new topic, keyed by customer. */
  async load(topic: string, input: string, format: EventsFormat, partitions = 1): Promise<void> {
    await this.#java('streams', 'Load', { ...(await this.#broker()), topic, input, format, partitions }, { java: HEAP })
  }

  async streams({ cacheBytes, ...work }: StreamsWork): Promise<PeerRun> {
    const cache = cacheBytes === undefined ? {} : { cache: cacheBytes }
    return this.#measure('streams', 'StreamsPeer', { ...(await this.#broker()), ...cache, ...work })
  }

  /** Serves a topic's customers over HTTP; its first line is the URL. */
  async reads(topic: string, events: number): Promise<ChildProcess> {
    const folder = await mkdtemp(join(this.#folder, 'reads-'))
    const work = { topic, events, folder, format: 'binary', reader: 'best', backend: 'memory', parallelism: 1 }
    return this.start('streams', 'StreamsReads', { ...(await this.#broker()), ...work }, { java: HEAP })
  }

  async #broker() {
    this.#kafka ??= openKafka()
    const { brokers, pid } = await this.#kafka
    return { broker: brokers.join(','), 'broker-pid': pid }
  }

  async #measure(module: string, program: string, work: Work & Arguments): Promise<PeerRun> {
    const folder = await mkdtemp(join(this.#folder, `${module}-`))
    try {
      const warmup = Math.min(WARMUP_MAX, Math.ceil(work.events * WARMUP_SHARE))
      return await this.run<PeerRun>(module, program, { parallelism: 1, ...work, warmup, folder }, { java: HEAP })
    } finally {
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  }

  /** Runs a program to its end and gives the object that its last line is. @throws Error with its words where there is none */
  async run<T>(module: string, program: string, values: Arguments, options: ProgramOptions = {}): Promise<T> {
    const { stdout, stderr } = await this.#java(module, program, values, options)
    const line = stdout.trim().split('\n').at(-1) ?? ''
    if (!line.startsWith('{')) throw new Error(`${program} printed no result:\n${stderr.slice(-4000)}`)
    return JSON.parse(line) as T
  }

  /** Starts a program that runs until its stdin ends. */
  async start(module: string, program: string, values: Arguments, options: ProgramOptions = {}): Promise<ChildProcess> {
    const env = { ...process.env, ...options.environment }
    return spawn('java', await this.#command(module, program, values, options), {
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
  }

  async #java(module: string, program: string, values: Arguments, options: ProgramOptions = {}) {
    return run('java', await this.#command(module, program, values, options), {
      env: { ...process.env, ...options.environment },
      timeout: RUN_TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: 2 ** 24,
    })
  }

  async #command(module: string, program: string, values: Arguments, { java = [] }: ProgramOptions): Promise<string[]> {
    const target = join(project, module, 'target')
    const classPath = `${join(target, `${module}-1.jar`)}:${await readFile(join(target, 'class-path'), 'utf8')}`
    const pairs = Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)])
    return [
      ...java,
      ...OPENS,
      `-Djava.io.tmpdir=${values['folder'] ?? this.#folder}`,
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
      '-cp',
      classPath,
      `peers.${program}`,
      ...pairs,
    ]
  }

  async close(): Promise<void> {
    await (await this.#kafka)?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

type Arguments = Readonly<Record<string, string | number>>

interface ProgramOptions {
  /** Of the JVM. */
  readonly java?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}
