// Rows and dead letters of a view that was folded anew, on their way into the place of the live ones, wherever those are: as plain
// data, in the form of checkpoints. They are put there as a transaction would: who reads rows at a cut gets them as they were
// before, and the next checkpoint has them.
import { ByteReader, ByteWriter } from '../../core/index.ts'
import { netChange } from '../feed/net-change.ts'
import { idAt, storedRow } from '../rows-at-cut.ts'
import type { DeadLetter } from '../skip/dead-letters.ts'
import { LIVE } from '../state/changes.ts'
import { GROUP_SHIFT } from '../state/key-groups.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'
import type { ChangedSince } from './changed-since.ts'

/** A view that was folded anew, and which of its rows are to be taken. */
export interface Refolded {
  readonly view: FoldedView
  readonly ids: Iterable<KeyId>
}

/** What goes to one shard. */
export interface Replacement {
  readonly view: string
  /** Of each row: varint length of its key, key, varint support, fields; support 0 and no fields where there is to be none. */
  readonly rows: Uint8Array
  readonly count: number
  /** All its dead letters, in the place of those there are. Undefined where the view skips nothing. */
  readonly letters: readonly DeadLetter[] | undefined
  /** Calls that were skipped, ever: counted by one of the shards. */
  readonly skipped: number
}

/** @param owners shard by key group @returns what goes to each of the shards */
export function replacementsOf(refolded: readonly Refolded[], owners: Uint8Array, shards: number): Replacement[][] {
  const parts: Replacement[][] = Array.from({ length: shards }, () => [])
  const row = new ByteWriter()
  for (const { view, ids } of refolded) {
    const writers = parts.map(() => ({ writer: new ByteWriter(), count: 0 }))
    const { keys } = view.table
    for (const id of ids) {
      const part = writers[owners[keys.hashOf(id) >>> GROUP_SHIFT]!]!
      part.writer.bytes(keys.bytesOf(id))
      const place = view.table.find(id)
      if (place >= 0 && idAt(view, place) !== undefined) part.writer.raw(storedRow(view, place, row))
      else part.writer.varint(0)
      part.count++
    }
    const letters = view.deadLetters?.list()
    for (const [shard, { writer, count }] of writers.entries()) {
      const rows = Uint8Array.from(writer.buffer.subarray(0, writer.at))
      const own = letters?.filter(({ keyHash }) => owners[keyHash >>> GROUP_SHIFT] === shard)
      const skipped = shard === 0 ? (view.deadLetters?.total ?? 0) : 0
      parts[shard]!.push({ view: view.name, rows, count, letters: own, skipped })
    }
  }
  return parts
}

/**
 * Puts rows into a live view, at a cut. Rows that have changed since some cut, and for which none is given, are put back as they
 * were there: whoever folded the view anew found no reason to change them.
 * @throws STATE_TOO_LARGE and others: the view has a part of the rows then
 */
export function replaceRows(live: FoldedView, replacement: Replacement, changed: ChangedSince | undefined): void {
  const { table } = live
  const bytes = Buffer.from(replacement.rows.buffer, replacement.rows.byteOffset, replacement.rows.byteLength)
  const reader = new ByteReader(bytes)
  const given = new Set<KeyId>()
  for (let n = 0; n < replacement.count; n++) {
    const keyTo = reader.varint() + reader.at
    const id = table.readKey(bytes, reader.at, keyTo)
    reader.at = keyTo
    if (changed !== undefined) given.add(id)
    replaceRow(live, id, reader)
  }
  for (const [id, stored] of changed?.rows() ?? [])
    if (!given.has(id)) replaceRow(live, id, new ByteReader(stored ?? NO_SUPPORT))
  if (replacement.letters) live.deadLetters?.replace(replacement.letters, replacement.skipped)
  live.touchesChanged()
}

const NO_SUPPORT = Buffer.from([0])

function replaceRow(live: FoldedView, id: KeyId, reader: ByteReader): void {
  const { table, changes } = live
  const support = reader.varint()
  const row = support === 0 ? table.find(id) : table.findOrAdd(id)
  if (row < 0) return
  changes.beforeWrite(row)
  const flags = table.flags(row)
  const copy = live.feed && (flags & LIVE) !== 0 ? table.copy(row) : -1
  if (support === 0) table.clear(row)
  else {
    table.readStored(row, reader)
    table.checkHeap()
  }
  table.setSupport(row, support)
  changes.add(row, support === 0 ? flags & ~LIVE : flags | LIVE)
  feedReplaced(live, row, copy)
  live.size += (support === 0 ? 0 : 1) - ((flags & LIVE) === 0 ? 0 : 1)
}

/** Those who follow the view are told; views that fold it are not: their rows were folded anew too. */
function feedReplaced(live: FoldedView, row: number, copy: number): void {
  if (live.feed === undefined) return
  const change = netChange(live, row, copy)
  if (change) live.feed(live, live.table.idOf(row), change.before, change.after)
  if (copy >= 0) live.table.releaseCopy(copy)
}
