// A thread that follows a log: says when each record reached it, or reads all there is and says how long that took.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { type FollowerChannel, followLog, portChannel } from '../core/index.ts'
import { type Read, readAll } from './log-follow.ts'

const { port, watch } = workerData as { port: MessagePort; watch: boolean }
const channel: FollowerChannel = portChannel(port)
const log = await followLog(channel)

/** Until the log closes: hrtime by position. */
async function watching(): Promise<readonly (readonly [number, bigint])[]> {
  const seen: [number, bigint][] = []
  const reader = log.read(log.end)
  parentPort?.postMessage('ready')
  for (let blocks = await reader.next(); blocks; blocks = await reader.next()) {
    const now = process.hrtime.bigint()
    for (const block of blocks) seen.push([block.end, now])
  }
  return seen
}

if (watch) parentPort?.postMessage(await watching())
else {
  parentPort?.on('message', async () => {
    const read: Read = await readAll(log)
    parentPort?.postMessage(read)
  })
  parentPort?.postMessage('ready')
}
