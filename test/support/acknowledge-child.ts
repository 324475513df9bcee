// A process to be traced: `node acknowledge-child.ts FOLDER` appends batches, one after the other and several at once, over
// several segments, and writes `batch N` to its output when batch N is acknowledged.
import { writeSync } from 'node:fs'
import { openEmbeddedLog } from '../../core/index.ts'
import { appendMarkers, markersContract } from './log-records.ts'

const log = await openEmbeddedLog({ path: process.argv[2] ?? '', segmentBytesMax: 1_500 })
const topic = await log.topic(markersContract)
const append = async (n: number) => {
  await appendMarkers(log, topic, n, 1 + (n % 3), 'x'.repeat(50))
  writeSync(1, `batch ${n}\n`)
}
for (let n = 1; n <= 24; n += 4) {
  await append(n)
  await Promise.all([append(n + 1), append(n + 2), append(n + 3)])
}
await log.close()
