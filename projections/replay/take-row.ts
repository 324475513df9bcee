// Puts a row of a view that was folded anew into the live one, as a transaction would: who reads rows at a cut gets it as it was
// before, and the next checkpoint has it.
import { ByteReader, type ByteWriter } from '../../core/index.ts'
import { idAt, storedRow } from '../rows-at-cut.ts'
import { LIVE } from '../state/changes.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'

/** To be called at a cut. @throws STATE_TOO_LARGE */
export function takeRow(live: FoldedView, refolded: FoldedView, id: KeyId, writer: ByteWriter): void {
  const { table, changes } = live
  const from = refolded.table.find(id)
  const stored = from >= 0 && idAt(refolded, from) !== undefined ? storedRow(refolded, from, writer) : undefined
  const row = stored === undefined ? table.find(id) : table.findOrAdd(id)
  if (row < 0) return
  changes.beforeWrite(row)
  const wasThere = (table.flags(row) & LIVE) !== 0
  if (stored === undefined) {
    table.clear(row)
    table.setSupport(row, 0)
    changes.add(row, table.flags(row) & ~LIVE)
  } else {
    const reader = new ByteReader(stored)
    const support = reader.varint()
    table.readStored(row, reader)
    table.checkHeap()
    table.setSupport(row, support)
    changes.add(row, table.flags(row) | LIVE)
  }
  live.touchesChanged()
  live.size += (stored === undefined ? 0 : 1) - (wasThere ? 1 : 0)
}
