// `node test/compat/record.ts`: writes the data folder of the format version that this code writes, once and for all. A folder
// that exists is never written again: it is what users have on their disks.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Log, openEmbeddedLog } from '../../core/index.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'
import { clicks, contentOf, kinds, kindsRow, laterKinds, lines } from './recorded.ts'

const PATH = '/log'

async function fill(log: Log): Promise<void> {
  const [table, pairs, events] = [await log.topic(kinds), await log.topic(lines), await log.topic(clicks)]
  const line = (n: number) => ({ order: n, line: n % 3, article: `article ${n}` })
  for (let n = 0; n < 24; n++) {
    const batch = log.batch()
    batch.insert(table, kindsRow(n))
    if (n % 3 === 1) batch.update(table, kindsRow(n), kindsRow(n + 1))
    if (n % 3 === 2) batch.delete(pairs, line(n))
    else batch.insert(pairs, line(n))
    batch.event(events, { user: `u${n % 4}`, page: `/${n}` })
    if (n % 8 === 7) {
      const raw = { id: String(n), text: null, big: 'NaN' }
      batch.parked(table, { op: 'update', key: String(n), raw, error: 'text: expected string, received null' })
    }
    const mark = { source: n % 5 ? 'shop' : 'billing', position: `0/${n.toString(16).toUpperCase()}` }
    const whole = { ...mark, transaction: String(700 + n), commitTimeUs: 1_700_000_000_000_000 + n }
    await (n % 4 === 3 ? batch.commit() : batch.commit(n < 3 ? { ...mark, snapshot: true } : whole))
    if (n % 6 === 5) await log.batch().commit({ source: 'shop', position: `1/${n}` })
  }
  const chain = log.batch()
  for (let n = 0; n < 30; n++) chain.event(events, { user: 'chain', page: `${n}`.repeat(30_000) })
  await chain.commit({ source: 'shop', position: '2/0', transaction: '900' })
  const later = await log.topic(laterKinds)
  for (let n = 0; n < 3; n++) {
    const batch = log.batch()
    const row = { ...kindsRow(n), since: new Date(n), note: n % 2 ? null : 'new' }
    batch.update(later, row, { ...row, small: 2 ** 40 })
    await batch.commit()
  }
}

const disk = new SimulatedDisk()
let now = 1_750_000_000_000
const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 4_000, clock: () => now++ })
await fill(log)
const expected = await contentOf(log)
// The process dies in the middle of a write: of two batches, the first half.
const active = disk.paths.findLast(path => path.endsWith('.segment'))!
const durable = disk.bytes(active).length
const topic = log.findTopic('clicks')!
await Promise.all(
  [1, 2].map(n => {
    const batch = log.batch()
    batch.event(topic, { user: 'nobody', page: 'never acknowledged '.repeat(n * 5) })
    return batch.commit({ source: 'shop', position: '3/0' })
  }),
)
disk.plant(active, disk.bytes(active).subarray(0, durable + 120))

const { format } = JSON.parse(disk.bytes(`${PATH}/log.json`).toString()) as { format: number }
const folder = join(import.meta.dirname, String(format))
if (existsSync(folder)) throw new Error(`${folder} is there already, and stays as it is`)
mkdirSync(join(folder, 'log'), { recursive: true })
for (const path of disk.paths.filter(name => !name.endsWith('lock.json')))
  writeFileSync(join(folder, 'log', `${basename(path)}.gz`), gzipSync(disk.bytes(path), { level: 9 }))
writeFileSync(join(folder, 'expected.json'), `${JSON.stringify(expected, null, 1)}\n`)
