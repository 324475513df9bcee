// The last record of the log that goes to a key of a view: read where a row differs, to say what to look at.
import type { AnyRow, KeyCodec, Log, RecordCursor, SourceTable } from '../core/index.ts'
import type { InputKey } from './route.ts'
import type { KeyId } from './state/keys.ts'
import type { FoldedView } from './view.ts'

const RECORDS_PER_TURN = 128

/** Null where none does, or where the view folds several inputs or another view, so that the log alone does not tell. */
export async function lastTouch(
  view: FoldedView,
  id: KeyId,
  log: Log,
  upTo: number,
  turn: () => Promise<void>,
): Promise<number | null> {
  const [on, ...more] = view.definition.ons
  if (on === undefined || more.length > 0 || on.input.kind === 'projection') return null
  const changes = on.input.kind === 'changes'
  const topic = changes ? (on.input as unknown as { table: SourceTable }).table.name : on.input.name
  const reader = log.read(0)
  let last: number | null = null
  try {
    for (;;) {
      const blocks = await reader.ready()
      for (const block of blocks) {
        const cursor = block.records()
        for (let n = 1; cursor.next() && cursor.position <= upTo; n++) {
          if (cursor.topic.name === topic && goesTo(view, id, cursor, changes)) last = cursor.position
          if (n % RECORDS_PER_TURN === 0) await turn()
        }
        if (block.end >= upTo) return last
      }
      if (blocks.length === 0) return last
    }
  } finally {
    reader.close()
  }
}

function goesTo(view: FoldedView, id: KeyId, cursor: RecordCursor, changes: boolean): boolean {
  if (cursor.op === 'parked') return false
  const before = cursor.before()
  const after = cursor.after()
  const { key } = cursor.topic.contract
  if (!changes) return [before, after].some(row => row !== null && hasKey(view, id, row, key))
  const row = after ?? before
  if (row === null) return false
  return hasKey(view, id, { op: cursor.op, before, after }, { fromRow: () => (key as KeyCodec).fromRow(row) })
}

function hasKey(view: FoldedView, id: KeyId, row: AnyRow, inputKey: InputKey): boolean {
  const keys = view.routes[0]?.keysOf(row, inputKey)
  const each = view.routes[0]?.many && Array.isArray(keys) ? keys : [keys]
  return each.some(key => key !== null && key !== undefined && view.table.keys.idOf(key) === id)
}
