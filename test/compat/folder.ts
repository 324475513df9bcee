// A data folder as this code writes it: what is recorded for each format version.
import { type Log, openEmbeddedLog } from '../../core/index.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'
import { booking, bookings, clicks, contentOf, kinds, kindsRow, laterKinds, lines } from './recorded.ts'

const PATH = '/log'

async function fill(log: Log): Promise<void> {
  const [table, pairs, events] = [await log.topic(kinds), await log.topic(lines), await log.topic(clicks)]
  const seats = await log.topic(bookings)
  const line = (n: number) => ({ order: n, line: n % 3, article: `article ${n}` })
  for (let n = 0; n < 24; n++) {
    const batch = log.batch()
    batch.insert(table, kindsRow(n))
    if (n % 3 === 1) batch.update(table, kindsRow(n), kindsRow(n + 1))
    if (n % 3 === 2) batch.delete(pairs, line(n))
    else batch.insert(pairs, line(n))
    batch.event(events, { user: `u${n % 4}`, page: `/${n}` })
    batch.event(seats, booking(n))
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

interface Written {
  readonly disk: SimulatedDisk
  readonly format: number
  /** All that the port shows of it. */
  readonly content: unknown
}

/** The beginning of it cleaned, most of it sealed, one closed segment not yet, and an unfinished tail in the last. */
export async function writtenFolder(): Promise<Written> {
  const disk = new SimulatedDisk()
  let now = 1_750_000_000_000
  const options = { path: PATH, fileSystem: disk, segmentBytesMax: 4_000, clock: () => now++ }
  const first = await openEmbeddedLog(options)
  await fill(first)
  await first.sealed()
  const { to } = await first.clean({
    trim: { clicks: 30, bookings: 20 },
    compact: { 'shop.kinds': 40, 'shop.lines': 25 },
    to: 80,
  })
  if (to < 45) throw new Error(`the base ends at ${to}: too little of it would be recorded`)
  await first.close()
  const log = await openEmbeddedLog({ ...options, seal: false })
  const topic = log.findTopic('clicks')!
  for (let n = 0; n < 30; n++) {
    const batch = log.batch()
    for (let page = 0; page < 8; page++) batch.event(topic, { user: `u${n % 4}`, page: `/hot/${n}/${page}` })
    if (n % 4 === 0) batch.event(log.findTopic('bookings')!, booking(n))
    await batch.commit({ source: 'shop', position: `4/${n}` })
  }
  const content = await contentOf(log)
  // The process dies in the middle of a write: of two batches, the first half.
  const active = disk.paths.findLast(path => path.endsWith('.segment'))!
  const durable = disk.bytes(active).length
  await Promise.all(
    [1, 2].map(n => {
      const batch = log.batch()
      batch.event(topic, { user: 'nobody', page: 'never acknowledged '.repeat(n * 5) })
      return batch.commit({ source: 'shop', position: '5/0' })
    }),
  )
  disk.plant(active, disk.bytes(active).subarray(0, durable + 120))
  return { disk, format: formatOf(disk), content }
}

/** The newest format among its files: the version stands at byte 8 of each segment, sealed or not. */
const formatOf = (disk: SimulatedDisk): number =>
  Math.max(...disk.paths.filter(path => /\.(segment|sealed)$/.test(path)).map(path => disk.bytes(path).readUInt32LE(8)))
