// Opens an application whose process was killed: when the first read is answered, and when it is level with the log. Times are from
// the start of this process.
import { enableCompileCache } from 'node:module'
import type { Restarted } from './recovery.ts'
import type { Work } from './work.ts'

// As bin/mainstem.mjs begins: what was compiled at an earlier start is not compiled again.
enableCompileCache()
const { openApplication } = await import('../../bin/open-application.ts')
const { resultOf, rowsOf } = await import('./work.ts')
const { RECOVERED } = await import('./recovery.ts')
const { WORKS } = await import('./works.ts')

const { dataDir } = JSON.parse(process.argv[2] ?? '') as { dataDir: string }
const work: Work = WORKS[RECOVERED]
let tail = 0
await using running = await openApplication(work.apps['handler']!, {
  dataDir,
  onEvent(event) {
    if (event.event === 'start-plan') tail = event.records
  },
})
const { engine, log } = running
await engine.read([{ view: 'customers', key: 1 }])
const firstAnswerSeconds = performance.now() / 1000
const { user, system } = process.cpuUsage()
const firstAnswerCpuSeconds = (user + system) / 1e6
const { end } = log
await engine.waitFor(end, AbortSignal.timeout(300_000))
const caughtUpSeconds = performance.now() / 1000
const { rows, hash } = await resultOf(rowsOf(work, engine))
process.stdout.write(
  `${JSON.stringify({ firstAnswerSeconds, firstAnswerCpuSeconds, caughtUpSeconds, tail, end, rows, hash } satisfies Restarted)}\n`,
)
