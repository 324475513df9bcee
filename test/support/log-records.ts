// Records that say which batch they are of, so that a log can be asked whether each batch is in it whole.
import { z } from 'zod'
import {
  type AnyRow,
  compileContract,
  type Log,
  type LogBlock,
  type LogTopic,
  type RecordOp,
} from '../../core/index.ts'

export const markersContract = compileContract(
  'shop.markers',
  'table',
  z.object({ batch: z.int(), index: z.int(), of: z.int(), filler: z.string() }),
  ['batch', 'index'],
)

/** Appends batch `n` of `of` records, with a mark of source `shop` at position `n`. */
export function appendMarkers(log: Log, topic: LogTopic, n: number, of: number, filler = '') {
  const batch = log.batch()
  for (let index = 0; index < of; index++)
    batch.insert(topic, { batch: n, index, of, filler: `<${n}:${index}>${filler}` })
  return batch.commit({ source: 'shop', position: String(n) })
}

export interface SeenRecord {
  readonly position: number
  readonly topic: string
  readonly op: RecordOp
  readonly before: AnyRow | null
  readonly after: AnyRow | null
}

export function recordsOf(blocks: readonly LogBlock[]): SeenRecord[] {
  const seen: SeenRecord[] = []
  for (const block of blocks) {
    const records = block.records()
    while (records.next()) {
      const { position, topic, op } = records
      seen.push({ position, topic: topic.name, op, before: records.before(), after: records.after() })
    }
  }
  return seen
}

/** All durable blocks after a position. */
export async function blocksOf(log: Log, after = 0): Promise<LogBlock[]> {
  const reader = log.read(after)
  const blocks: LogBlock[] = []
  for (;;) {
    const more = await reader.ready()
    if (more.length === 0) break
    blocks.push(...more)
  }
  reader.close()
  return blocks
}

export const allRecords = async (log: Log, after = 0): Promise<SeenRecord[]> => recordsOf(await blocksOf(log, after))

/** The batches in the log, in order. Throws where one is not whole, doubled, or a position is missing. */
export async function wholeBatches(log: Log): Promise<number[]> {
  const batches: number[] = []
  let next = 1
  let left = 0
  for (const { position, after } of await allRecords(log)) {
    if (position !== next++) throw new Error(`position ${position} instead of ${next - 1}`)
    const { batch, index, of } = after as { batch: number; index: number; of: number }
    if (left === 0) {
      if (index !== 0) throw new Error(`batch ${batch} begins with record ${index}`)
      batches.push(batch)
      left = of
    }
    if (batch !== batches.at(-1) || index !== of - left) throw new Error(`batch ${batch} is not whole`)
    left--
  }
  if (left > 0) throw new Error(`batch ${batches.at(-1)} is not whole`)
  if (next - 1 !== log.end) throw new Error(`the log ends at ${log.end}, its records at ${next - 1}`)
  return batches
}
