// One measurement, as users run it: an application over a log, or its views over a file, folded from the beginning with checkpoints
// each second.

import { openApplication } from '../../bin/open-application.ts'
import { compileContract, openFileLog } from '../../core/index.ts'
import { type Application, type Engine, fingerprintOf, openEngine, partsOf, shapeOf } from '../../projections/index.ts'
import { ORDER_RECORD } from '../orders-data.ts'
import type { Measured, Measurement } from './ours.ts'
import { resultOf, rowsOf, type Work } from './work.ts'
import { WORKS } from './works.ts'

const FOLD_TIMEOUT_MS = 900_000

interface Opened extends AsyncDisposable {
  readonly engine: Engine
  /** The log's end. */
  readonly end: number
  /** Position behind so many events. */
  positionOf(events: number): number
  /** Events folded so far. */
  folded(): number
}

async function openLog(app: Application, { dataDir, shards }: Measurement): Promise<Opened> {
  const running = await openApplication(app, { dataDir, ...(shards === undefined ? {} : { shards }) })
  const { engine } = running
  return {
    engine,
    end: running.log.end,
    positionOf: events => events,
    folded: () => engine.position,
    [Symbol.asyncDispose]: () => running.close(),
  }
}

async function openFile(work: Work, app: Application, { dataDir, input, events }: Measurement): Promise<Opened> {
  const { path, format } = input!
  const { name, value, key } = work.topics[0]!
  const contract = compileContract(name, 'topic', value, key as string)
  const log = await openFileLog({ inputs: [{ contract, path, format: format === 'binary' ? ORDER_RECORD : 'ndjson' }] })
  await log.topic(contract)
  const parts = partsOf(app)
  const fingerprint = await fingerprintOf(app.file, shapeOf(parts))
  const engine = await openEngine({ log, parts, path: dataDir, fingerprint })
  return {
    engine,
    end: log.end,
    positionOf: count => Math.floor((log.end * count) / events),
    folded: () => log.records,
    async [Symbol.asyncDispose]() {
      await engine.stop()
      await log.close()
    },
  }
}

/** Folds all of a work, and gives what that took after the warm-up. */
export async function measure(measurement: Measurement): Promise<Measured> {
  const { events, warmup } = measurement
  const work: Work = WORKS[measurement.work]
  const app = work.apps[measurement.app]
  if (!app) throw new Error(`the work '${measurement.work}' has no application '${measurement.app}'`)
  await using opened = await (measurement.input ? openFile(work, app, measurement) : openLog(app, measurement))
  const { engine, end } = opened
  const patience = AbortSignal.timeout(FOLD_TIMEOUT_MS)
  await engine.waitFor(opened.positionOf(warmup), patience)
  const measuredEvents = events - opened.folded()
  const startedMs = performance.now()
  const startedCpu = process.cpuUsage()
  await engine.waitFor(opened.positionOf(events), patience)
  const { user, system } = process.cpuUsage(startedCpu)
  const seconds = (performance.now() - startedMs) / 1000
  // One more event ended a log's last segment.
  await engine.waitFor(end, patience)
  const cpuSeconds = (user + system) / 1e6
  return { events, measuredEvents, seconds, cpuSeconds, ...(await resultOf(rowsOf(work, engine))) }
}
