// A process to be killed: `node append-child.ts FOLDER FROM` appends batches to the log and the same to a table store beside
// it, and prints the number of each batch when it is acknowledged.
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { openEmbeddedLog, openTableStore } from '../../core/index.ts'
import { appendMarkers, markersContract } from './log-records.ts'

const [folder = '', from = '1'] = process.argv.slice(2)
const log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: 20_000 })
const store = openTableStore(join(folder, 'store'))
const topic = await log.topic(markersContract)

const key = (n: number) => Buffer.from([n])

for (let n = Number(from); ; n += 4) {
  const together = [n, n + 1, n + 2, n + 3]
  await Promise.all(
    together.map(async each => {
      await appendMarkers(log, topic, each, 1 + (each % 5), 'x'.repeat(50))
      writeSync(1, `batch ${each}\n`)
    }),
  )
  // 200 rows in two tables and the position, all of one commit.
  for (let row = 0; row < 200; row++) store.put(row % 2 ? 'odd' : 'even', key(row), Buffer.from(String(n)))
  store.setMeta('position', n)
  await store.commit()
  writeSync(1, `commit ${n}\n`)
}
