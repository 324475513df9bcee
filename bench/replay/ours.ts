// Our side of `bench replay`: logs with the events of a work, and what a process that folds them prints.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { compileContract, openEmbeddedLog } from '../../core/index.ts'
import { appendEvents, sealAll } from '../log-data.ts'
import type { EventsFormat } from '../orders-data.ts'
import type { Work } from './work.ts'
import { WORKS, type WorkName } from './works.ts'

const run = promisify(execFile)

/** Of all events, and at most so many: what a JVM is given to get warm is given to us. */
const WARMUP_SHARE = 0.2
const WARMUP_MAX = 1_000_000
export const warmupOf = (events: number): number => Math.min(WARMUP_MAX, Math.ceil(events * WARMUP_SHARE))

/** What a child is told. */
export interface Measurement {
  readonly work: WorkName
  /** Which of the work's applications. */
  readonly app: string
  /** Its log, and its checkpoints; of a file its checkpoints only. */
  readonly dataDir: string
  /** Instead of the log. */
  readonly input?: { readonly path: string; readonly format: EventsFormat }
  /** In so many threads. Default: in the main one. */
  readonly shards?: number
  readonly events: number
  readonly warmup: number
}

/** What it took, after the warm-up, and what came out; a peer prints the same. */
export interface Measured {
  readonly events: number
  readonly measuredEvents: number
  readonly seconds: number
  /** Of all threads of the process and of its descendants. */
  readonly cpuSeconds: number
  readonly rows: number
  readonly hash: number
  /** Of a broker beside it. */
  readonly brokerCpuSeconds?: number
}

/** Writes the first `events` of a work into a log, in transactions of a thousand; all of it sealed, at the price of one event more. */
export async function writeLog(dataDir: string, name: WorkName, events: number, sealed = true): Promise<void> {
  const path = join(dataDir, 'log')
  const work: Work = WORKS[name]
  const source = work.source()
  {
    await using log = await openEmbeddedLog({ path })
    const topics = await Promise.all(
      work.topics.map(each => log.topic(compileContract(each.name, 'topic', each.value, each.key as string))),
    )
    await appendEvents(log, events, (batch, n) => batch.event(topics[n % topics.length]!, source()))
    await log.sealed()
  }
  if (sealed) await sealAll(path)
}

/** The data folder of a sealed log, written when it is first asked for. */
export async function sealedLog(folder: string, name: WorkName, events: number): Promise<string> {
  const dataDir = join(folder, `${name}-${events}`)
  if (!existsSync(dataDir)) await writeLog(dataDir, name, events)
  return dataDir
}

/** Folds a log, or a file, anew in a process of its own. */
export async function replay(measurement: Omit<Measurement, 'warmup'>): Promise<Measured> {
  const { dataDir, input } = measurement
  await rm(input ? dataDir : join(dataDir, 'views'), { recursive: true, force: true })
  return inChild<Measured>('child.ts', { ...measurement, warmup: warmupOf(measurement.events) })
}

/** Runs a script of this folder in a process of its own, and gives the object that its last line is. */
export async function inChild<T>(script: string, told: object, nodeOptions: readonly string[] = []): Promise<T> {
  const args = [...nodeOptions, join(import.meta.dirname, script), JSON.stringify(told)]
  const { stdout } = await run(process.execPath, args, { maxBuffer: 2 ** 24 })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T
}
