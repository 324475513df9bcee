// Everything that can be seen of a log through its port, batch by batch: however the batches are cut into blocks.
import type { AnyRow, Log, LogBlock, ParkedRow, RecordOp, SourceMark } from '../../core/index.ts'
import { blocksOf } from './log-records.ts'

export interface SeenRow {
  readonly position: number
  readonly topic: string
  readonly op: RecordOp
  readonly before: AnyRow | null
  readonly after: AnyRow | null
  readonly parked: ParkedRow | null
}

export interface SeenBatch {
  /** Position of the first record seen of it. */
  readonly first: number
  readonly mark: SourceMark | undefined
  readonly appendTimeMs: number
  readonly records: readonly SeenRow[]
}

export function rowsOf(block: LogBlock): SeenRow[] {
  const rows: SeenRow[] = []
  for (const cursor = block.records(); cursor.next(); ) {
    const { position, topic, op } = cursor
    // `after` first: neither may depend on the other having been read.
    const after = cursor.after()
    rows.push({ position, topic: topic.name, op, before: cursor.before(), after, parked: cursor.parked() })
  }
  return rows
}

/** @throws where a batch does not end, or its blocks disagree about it */
export function batchesIn(blocks: readonly LogBlock[]): SeenBatch[] {
  const batches: SeenBatch[] = []
  let open: (SeenBatch & { records: SeenRow[] }) | undefined
  for (const block of blocks) {
    const rows = rowsOf(block)
    if (rows.length !== block.count) throw new Error(`a block of ${block.count} records has ${rows.length}`)
    if (rows.length > 0 && rows[0]?.position !== block.first)
      throw new Error(`a block does not begin at ${block.first}`)
    open ??= { first: block.first, mark: block.mark, appendTimeMs: block.appendTimeMs, records: [] }
    if (open.appendTimeMs !== block.appendTimeMs || JSON.stringify(open.mark) !== JSON.stringify(block.mark))
      throw new Error(`the blocks of the batch at ${open.first} disagree`)
    open.records.push(...rows)
    if (!block.last) continue
    batches.push(open)
    open = undefined
  }
  if (open) throw new Error(`the batch at ${open.first} does not end`)
  return batches
}

export const batchesOf = async (log: Log, after = 0): Promise<SeenBatch[]> => batchesIn(await blocksOf(log, after))
