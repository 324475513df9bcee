// What is seen of a log that may be cleaned, however it is cut into files.
import { isDeepStrictEqual } from 'node:util'
import type { AnyRow, EmbeddedLog, Log, LogBlock } from '../../core/index.ts'
import { batchesIn as allBatchesIn, type SeenBatch } from './log-batches.ts'
import { blocksOf } from './log-records.ts'

/** Without the marks of where a base ends, or once did: which of them are there depends on how the log is cut into files. */
export const batchesIn = (blocks: readonly LogBlock[]): SeenBatch[] =>
  allBatchesIn(blocks).filter(({ records, mark }) => records.length > 0 || mark)

export const batchesOf = async (log: Log, after = 0): Promise<SeenBatch[]> => batchesIn(await blocksOf(log, after))

/** The rows of all tables, folded from the beginning: none of them may be lost. */
export async function rowsOfTables(log: Log): Promise<unknown> {
  const rows = new Map<string, AnyRow>()
  for (const { records } of await batchesOf(log)) {
    for (const { topic, op, before, after } of records) {
      if (op === 'event') continue
      const keyOf = (row: AnyRow) => `${topic} ${row['key']}`
      if (before) rows.delete(keyOf(before))
      if (after) rows.set(keyOf(after), after)
    }
  }
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Positions of the records that a scan finds. */
export async function scannedPositions(log: EmbeddedLog, topic: string, from: number): Promise<number[]> {
  const found: number[] = []
  for await (const { parts } of log.scan(log.findTopic(topic)!, { from }))
    for (const part of parts) found.push(...part.positions())
  return found.sort((a, b) => a - b)
}

/** @throws saying both, where they are not equal */
export function mustEqual(what: string, model: unknown, embedded: unknown): void {
  if (isDeepStrictEqual(model, embedded)) return
  const text = (value: unknown) =>
    JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part), 1)?.slice(0, 4_000)
  throw new Error(`${what}\nmodel: ${text(model)}\nembedded: ${text(embedded)}`)
}
