// What the rows of a view take in memory: what is live in a process that has folded them, less what is live with none of them.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openApplication } from '../../bin/open-application.ts'
import type { MemoryMeasured, MemoryMeasurement } from './memory.ts'
import { resultOf, rowsOf, type Work } from './work.ts'
import { WORKS } from './works.ts'

const FOLD_TIMEOUT_MS = 300_000
const COLLECTIONS = 3

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const { work: name, emptyDir, dataDir } = JSON.parse(process.argv[2] ?? '') as MemoryMeasurement
const work: Work = WORKS[name]
const app = work.apps['handler']!

/** Heap and what buffers have outside of it. */
function liveBytes(): number {
  for (let n = 0; n < COLLECTIONS; n++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

async function measure(path: string): Promise<MemoryMeasured & { bytes: number }> {
  await using running = await openApplication(app, { dataDir: path })
  const { engine, log } = running
  await engine.waitFor(log.end, AbortSignal.timeout(FOLD_TIMEOUT_MS))
  await engine.checkpoint()
  const bytes = liveBytes()
  const counted = [...engine.views.values()].reduce((sum, view) => sum + view.status().stateBytes, 0)
  return { bytes, counted, grown: 0, ...(await resultOf(rowsOf(work, engine))) }
}

const { bytes: before } = await measure(emptyDir)
const after = await measure(dataDir)
process.stdout.write(`${JSON.stringify({ ...after, grown: after.bytes - before })}\n`)
