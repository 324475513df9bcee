// A thread that follows a log over the port it is given, and reads as it is asked. Answers are plain data.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { type FollowerChannel, followLog, type LogBlock, type LogReader, portChannel } from '../../core/index.ts'
import type { SeenBatch } from './log-batches.ts'
import { batchesIn } from './log-seen.ts'

export type Asked =
  /** Opens the one reader, and reads what it gives first. */
  | { readonly ask: 'open'; readonly after: number }
  /** Reads on, waiting, up to a position. */
  | { readonly ask: 'read'; readonly to: number }
  /** Waits until the reader gives nothing more. */
  | { readonly ask: 'end' }
  | { readonly ask: 'close' }

export interface Told {
  readonly end: number
  readonly generation: number
  readonly batches: readonly SeenBatch[]
}

const { port } = workerData as { port: MessagePort }
const channel: FollowerChannel = portChannel(port)
const log = await followLog(channel)
let reader: LogReader | undefined
let blocks: LogBlock[] = []

const work: { [K in Asked['ask']]: (asked: Extract<Asked, { ask: K }>) => Promise<void> } = {
  open: async ({ after }) => {
    reader = log.read(after)
    blocks = [...(await reader.ready())]
  },
  read: async ({ to }) => {
    while (reader && reader.position < to) blocks.push(...((await reader.next()) ?? []))
  },
  end: async () => {
    for (let more = await reader?.next(); more; more = await reader?.next()) blocks.push(...more)
    await log.closed
  },
  close: async () => {
    reader?.close()
    await log.close()
  },
}

parentPort?.on('message', async (asked: Asked) => {
  await work[asked.ask](asked as never)
  const told: Told = { end: log.end, generation: reader?.generation ?? 0, batches: batchesIn(blocks) }
  parentPort?.postMessage(told)
})
