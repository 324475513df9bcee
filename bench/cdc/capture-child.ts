// A process that captures the orders: every row against its contract, completed from the mirror, durable in the log.
import { readFileSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import type { Log } from '../../core/index.ts'
import type { Read } from './database.ts'
import type { CapturedDatabase, Told } from './ours.ts'

// As bin/mainstem.mjs begins: what was compiled at an earlier start is not compiled again.
enableCompileCache()
const { openApplication } = await import('../../bin/open-application.ts')
const { CAPTURES, SOURCE, served, TOPICS } = await import('./orders-app.ts')

const SAMPLE_MS = 20
const { technology, dataDir, mode, position, drop, all } = JSON.parse(process.argv[2] ?? '') as Told &
  Pick<CapturedDatabase, 'technology'>

const status = (name: string): number => {
  const line = readFileSync('/proc/self/status', 'utf8').match(new RegExp(`^${name}:\\s+(\\d+)`, 'm'))
  return Number(line?.[1] ?? 0) * 1024
}
let anonBytes = 0
const sample = () => {
  anonBytes = Math.max(anonBytes, status('RssAnon'))
}
setInterval(sample, SAMPLE_MS).unref()

const startedMs = performance.now()
const startedCpu = process.cpuUsage()
let snapshotEnded = () => {}
const snapshot = new Promise<void>(resolve => {
  snapshotEnded = resolve
})
const running = await openApplication(mode === 'serve' ? served : CAPTURES[technology], {
  dataDir,
  listen: mode === 'serve' && { port: 0 },
  onEvent(event) {
    if (event.event === 'snapshot-ended') snapshotEnded()
    if (event.event === 'source-failed') throw new Error(event.message)
  },
})
const source = running.sources.get(SOURCE)!
const from = all ? 0 : running.log.end
if (mode === 'serve') {
  await source.reached(position!, AbortSignal.timeout(120_000))
  process.stdout.write(`${running.url}\n`)
  await new Promise(resolve => process.stdin.once('end', resolve).resume())
} else if (mode === 'snapshot') await snapshot
else await source.reached(position!, AbortSignal.timeout(120_000))
sample()
const seconds = (performance.now() - startedMs) / 1000
const { user, system } = process.cpuUsage(startedCpu)
const read = await readLog(running.log, from)
const maxRssBytes = status('VmHWM')
if (drop) await source.drop()
await running.close()
process.stdout.write(
  `${JSON.stringify({ ...read, seconds, cpuSeconds: (user + system) / 1e6, anonBytes, maxRssBytes })}\n`,
)

/** What the log holds of the orders behind a position. */
async function readLog(log: Log, after: number): Promise<Read> {
  let [events, hash] = [0, 0]
  const reader = log.read(after)
  for (;;) {
    const blocks = await reader.ready()
    if (blocks.length === 0) break
    for (const block of blocks) {
      const records = block.records()
      while (records.next()) {
        if (records.topic.name !== TOPICS[technology]) continue
        const row = records.after()!
        events++
        hash += Number(row['order_id']) * 31 + Number(row['amount_cents'])
      }
    }
  }
  reader.close()
  return { events, hash }
}
