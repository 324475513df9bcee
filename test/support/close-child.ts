// A process that closes the log's background while the answer of a job is on its way: `node close-child.ts FILE`.
import { existsSync } from 'node:fs'
import { WorkerBackground } from '../../core/log/background.ts'

const [to = ''] = process.argv.slice(2)
const background = new WorkerBackground(new URL('./answering-worker.ts', import.meta.url))
const done = background.run('seal', {
  identity: { id: '11111111-1111-4111-8111-111111111111', epoch: 1 },
  hot: { path: '', first: 1, last: 1, bytes: 100, seed: 0 },
  end: { appendTimeMs: 0, marks: new Map() },
  topics: [],
  compression: 'none',
  to,
})
done.catch(() => {})
// In this turn of the event loop still, so that the answer is there and not yet taken.
while (!existsSync(to));
await background.close()
console.log('closed')
