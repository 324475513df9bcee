// Appends until it is killed, and says after each acknowledgement how far it is: `end bytes`.
import { openEmbeddedLog } from '../core/index.ts'
import { BODY_BYTES, openContract } from './log-open.ts'

const [, , path = ''] = process.argv
const log = await openEmbeddedLog({ path, seal: false })
const topic = await log.topic(openContract)
const body = Uint8Array.from({ length: BODY_BYTES }, (_, n) => n)
for (let next = log.end; ; ) {
  const commits: ReturnType<ReturnType<typeof log.batch>['commit']>[] = []
  for (let n = 0; n < 16; n++) {
    const batch = log.batch()
    for (let each = 0; each < 500; each++) batch.event(topic, { id: next++, body })
    commits.push(batch.commit())
  }
  const appended = await Promise.all(commits)
  process.stdout.write(`${appended.at(-1)?.last} ${log.status().bytes}\n`)
}
