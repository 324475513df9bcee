// The reference: an application's views folded from the beginning of a log, record by record, without slices, runs, checkpoints or
// shards. What any engine ever answered for a position is what these rows are there.
import { type AnyRow, ByteReader, type Log, type RecordCursor } from '../../core/index.ts'
import { type Application, partsOf, type RowRequest } from '../../projections/index.ts'
import { emittedTopic, inOrder } from '../../projections/publish/emissions.ts'
import { commitTimeOf, RecordFolder } from '../../projections/record-folder.ts'
import { StateMemory } from '../../projections/state/memory.ts'
import { FoldedView } from '../../projections/view.ts'
import { connectViews } from '../../projections/view-graph.ts'
import { blocksOf } from '../support/log-records.ts'

export interface Recomputed {
  /** By projection, what it emits, in order. */
  readonly emitted: ReadonlyMap<string, readonly AnyRow[]>
}

/** @param at called at each end of a transaction, and first at position 0, with what reads the rows as they are there */
export async function recompute(
  log: Log,
  app: Application,
  at: (position: number, read: (request: RowRequest) => AnyRow | undefined) => void,
): Promise<Recomputed> {
  const info = { position: 0, timeMs: 0 }
  const parts = partsOf(app)
  const memory = new StateMemory()
  const views = parts.projections.map(each => new FoldedView(each, info, memory))
  connectViews(views)
  const folder = new RecordFolder(views, parts, info)
  const emitted = new Map<string, AnyRow[]>()
  const byName = new Map(views.map(view => [view.name, view]))
  const read = ({ view, key }: RowRequest) => byName.get(view)!.get(key)
  for (const view of views) view.emissions.publishedUpTo = 0
  at(0, read)
  let amidst = false
  for (const block of await blocksOf(log)) {
    if (!amidst) folder.beginTransaction(block)
    amidst = !block.last
    for (const cursor = block.records(); cursor.next(); ) folder.fold(alone(cursor), commitTimeOf(block))
    folder.flush()
    if (!block.last) continue
    folder.endTransaction(block)
    for (const { name, emissions, definition, table, error } of views) {
      if (error) throw error
      const topics = definition.spec.emits ?? []
      for (const { topic, bytes } of inOrder(emissions.take(), table.keys)) {
        const value = emittedTopic(topics[topic]!).codec.decode(new ByteReader(Buffer.from(bytes)))
        emitted.set(name, [...(emitted.get(name) ?? []), value])
      }
    }
    at(block.end, read)
  }
  return { emitted }
}

/** A record that is lent to nobody: it is folded by itself, as an object. */
const alone = (cursor: RecordCursor): RecordCursor => ({
  next: () => cursor.next(),
  get position() {
    return cursor.position
  },
  get topic() {
    return cursor.topic
  },
  get op() {
    return cursor.op
  },
  before: () => cursor.before(),
  after: () => cursor.after(),
  lendBefore: () => cursor.before(),
  lendAfter: () => cursor.after(),
  recall: () => {},
  lender: undefined,
  lendRun: () => 0,
  parked: () => cursor.parked(),
})
