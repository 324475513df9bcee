// The mirror as it was at a position of its source: frozen a moment later, less what the log says happened since.
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { AnyRow, FrozenMirror, Log, Mirror, MirrorTable } from '../../core/index.ts'
import type { Technology } from './technology.ts'

/** Walked in one turn of the event loop. */
const WALK_SLICE = 500

/** By the bytes of its key: what stood there at the audit's position, in its stored form; null where nothing did. */
export type Since = ReadonlyMap<string, Buffer | null>
export const NOTHING: Since = new Map()

export interface LoggedMirror<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly mirror: Mirror
}

/** What the log says of rows that changed between the audit's position and the freezing: by table, what was there before. */
export async function changedSince<P>(
  { technology, log, mirror }: LoggedMirror<P>,
  from: number,
  to: number,
  position: P,
): Promise<ReadonlyMap<string, Since>> {
  const { source, positions } = technology
  const tables = new Map<string, Map<string, Buffer | null>>()
  const reader = log.read(from)
  try {
    while (reader.position < to) {
      const blocks = await reader.ready()
      if (blocks.length === 0) break
      for (const block of blocks) {
        const { mark } = block
        if (block.first > to) break
        if (mark?.source !== source || positions.includes(position, positions.parse(mark.position))) continue
        const each = block.records()
        while (each.next()) {
          const table = mirror.tables.get(each.topic.name)
          if (!table || each.op === 'parked' || each.op === 'event') continue
          const rows = tables.get(table.name) ?? new Map<string, Buffer | null>()
          tables.set(table.name, rows)
          const before = each.op === 'insert' ? null : each.before()
          const after = each.op === 'delete' ? null : each.after()
          const note = (row: AnyRow, value: Buffer | null) => {
            const key = table.contract.key.encodeFromRow(row).toString('latin1')
            if (!rows.has(key)) rows.set(key, value)
          }
          if (before) note(before, table.encode(before, 0).copy())
          if (after) note(after, null)
        }
        await nextTurn()
      }
    }
  } finally {
    reader.close()
  }
  return tables
}

/** The rows of a table of the mirror as they were at the audit's position. */
export class MirrorRows {
  readonly #frozen: FrozenMirror
  readonly #table: MirrorTable
  readonly #since: Since

  constructor(frozen: FrozenMirror, table: MirrorTable, since: Since) {
    this.#frozen = frozen
    this.#table = table
    this.#since = since
  }

  parkedKeys(): Iterable<string> {
    return this.#frozen.parkedKeys(this.#table)
  }

  /** Both are valid during the call only. */
  async each(signal: AbortSignal, onRow: (key: Buffer, row: Buffer) => void): Promise<void> {
    const since = this.#since
    let count = 0
    for (const [key, stored] of this.#frozen.rows(this.#table)) {
      const changed = since.size === 0 ? undefined : since.get(key.toString('latin1'))
      if (changed === undefined) onRow(key, this.#table.rowBytes(stored))
      if (++count % WALK_SLICE !== 0) continue
      await nextTurn()
      signal.throwIfAborted()
    }
    for (const [key, value] of since) if (value) onRow(Buffer.from(key, 'latin1'), this.#table.rowBytes(value))
  }
}
