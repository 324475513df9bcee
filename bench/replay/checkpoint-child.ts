// What checkpoints of a view of a million keys cost: bytes for each row that changed, and how long they keep the thread.
import { readFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { type ApplicationEvent, openApplication } from '../../bin/open-application.ts'
import { type AnyTopic, ByteWriter, createRowCodec } from '../../core/index.ts'
import type { CheckpointsMeasured, CheckpointsMeasurement, Turns } from './checkpoints.ts'
import type { Event, Id, Work } from './work.ts'
import { WORKS } from './works.ts'

const VIEW = 'customers'
const BATCH = 1_000
/** Of each checkpoint whose bytes are counted. */
const BATCHES_PER_CHECKPOINT = 20
const CHECKPOINTS = 5
const NEVER_MS = 3_600_000
const PATIENCE_MS = 300_000

const { work: name, dataDir, liveMs, eventsPerSecond } = JSON.parse(process.argv[2] ?? '') as CheckpointsMeasurement
const work: Work = WORKS[name]
const source = work.source()
const newOrders = (): Event[] => Array.from({ length: BATCH }, source)

/** Bytes given to the system to be written, by the whole process. */
const writtenBytes = (): number => Number(/^wchar: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])

async function measureBytes(): Promise<{ bytesPerRow: number[]; rowBytes: number }> {
  await using running = await openApplication(work.apps['handler']!, {
    dataDir,
    checkpointIntervalMs: NEVER_MS,
    seal: false,
  })
  const { engine, log } = running
  for (let n = 0; n < log.end; n++) source()
  await engine.waitFor(log.end, AbortSignal.timeout(PATIENCE_MS))
  await engine.checkpoint()
  const view = engine.views.get(VIEW)!
  const codec = createRowCodec(view.value)
  const bytesPerRow: number[] = []
  let rowBytes = 0
  for (let n = 0; n < CHECKPOINTS; n++) {
    const changed = new Set<Id>()
    for (let batch = 0; batch < BATCHES_PER_CHECKPOINT; batch++) {
      const orders = newOrders()
      for (const order of orders) changed.add(order['customer_id'] as Id)
      await running.append(work.topics[0] as AnyTopic, orders as never)
    }
    await engine.waitFor(log.end, AbortSignal.timeout(PATIENCE_MS))
    const before = writtenBytes()
    await engine.checkpoint()
    bytesPerRow.push((writtenBytes() - before) / changed.size)
    const { rows } = await engine.read([...changed].map(key => ({ view: VIEW, key })))
    const writer = new ByteWriter()
    for (const row of rows) codec.encode(writer, row!)
    const keyBytes = [...changed].reduce<number>((sum, key) => sum + view.key.encode(key).length, 0)
    rowBytes = (writer.at + keyBytes) / changed.size
  }
  return { bytesPerRow, rowBytes }
}

function summaryOf(turnsMs: readonly number[]): Turns {
  const sorted = turnsMs.toSorted((a, b) => a - b)
  const totalMs = sorted.reduce((sum, ms) => sum + ms, 0)
  const longestMs = sorted.at(-1) ?? 0
  let left = totalMs / 100
  while (sorted.length > 1 && left > sorted.at(-1)!) left -= sorted.pop()!
  return { p99Ms: sorted.at(-1) ?? 0, longestMs, seconds: totalMs / 1000 }
}

/** Turns of the event loop while checkpoints are written, with appends going on. */
async function measureStalls(): Promise<Omit<CheckpointsMeasured, 'bytesPerRow' | 'rowBytes'>> {
  let [writing, checkpoints] = [false, 0]
  const onEvent = ({ event }: ApplicationEvent) => {
    if (event === 'checkpoint-started') writing = true
    if (event !== 'checkpoint-ended') return
    writing = false
    checkpoints++
  }
  await using running = await openApplication(work.apps['handler']!, { dataDir, onEvent })
  await running.engine.waitFor(running.log.end, AbortSignal.timeout(PATIENCE_MS))
  const [turnsMs, otherTurnsMs]: [number[], number[]] = [[], []]
  const startedMs = performance.now()
  const endMs = startedMs + liveMs
  let appended = 0
  const appending = async () => {
    for (let nowMs = performance.now(); nowMs < endMs; nowMs = performance.now()) {
      if (appended >= ((nowMs - startedMs) / 1000) * eventsPerSecond) await turn()
      else {
        await running.append(work.topics[0] as AnyTopic, newOrders() as never)
        appended += BATCH
      }
    }
  }
  const probing = async () => {
    for (let lastMs = performance.now(); lastMs < endMs; ) {
      const wasWriting = writing
      await turn()
      const nowMs = performance.now()
      const turns = wasWriting ? turnsMs : otherTurnsMs
      turns.push(nowMs - lastMs)
      lastMs = nowMs
    }
  }
  await Promise.all([appending(), probing()])
  return { turns: summaryOf(turnsMs), otherTurns: summaryOf(otherTurnsMs), checkpoints, appended }
}

const measured: CheckpointsMeasured = { ...(await measureBytes()), ...(await measureStalls()) }
process.stdout.write(`${JSON.stringify(measured)}\n`)
