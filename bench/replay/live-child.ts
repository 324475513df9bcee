// An application with a million keys that folds its log, and then goes on appending until it is killed.
import { openApplication } from '../../bin/open-application.ts'
import type { AnyTopic } from '../../core/index.ts'
import type { LiveTold } from './recovery.ts'
import { RECOVERED } from './recovery.ts'
import { WORKS } from './works.ts'

const BATCH = 1_000

const work = WORKS[RECOVERED]
const source = work.source()
let rebuilt = 0
await using running = await openApplication(work.apps['handler']!, {
  dataDir: process.argv[2] ?? '',
  onEvent(event) {
    if (event.event === 'rebuild-ended') rebuilt = event.records / event.seconds
  },
})
for (let n = 0; n < running.log.end; n++) source()
await running.engine.waitFor(running.log.end, AbortSignal.timeout(300_000))
process.stdout.write(`${JSON.stringify({ eventsPerSecond: rebuilt } satisfies LiveTold)}\n`)
for (;;) {
  const orders = Array.from({ length: BATCH }, source)
  await running.append(work.topics[0] as AnyTopic, orders as never)
}
