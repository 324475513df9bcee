// What a source says happened to one row of a captured table, brought to the recorder: keys, values that the server left
// out, rows that the contract refuses.
import type { MirrorTable, Recorder } from '../../core/index.ts'
import type { Image } from './image.ts'
import type { Fill, RowReader } from './rows.ts'
import type { Window } from './window.ts'

export interface Captured {
  readonly mirrored: MirrorTable
  readonly reader: RowReader
}

/** How an old row image came with an update or delete: its key columns, the whole row, or not at all. */
export type OldKind = 'key' | 'full' | undefined

/** Rows of the mirror deleted in one turn of the event loop. */
const TRUNCATE_SLICE = 500

export class Changes {
  readonly #recorder: Recorder
  /** To be told of each key that is touched. */
  window: Window | undefined

  constructor(recorder: Recorder) {
    this.#recorder = recorder
  }

  insert({ mirrored, reader }: Captured, after: Image): void {
    const value = this.#recorder.begin(mirrored)
    const key = reader.write(value, after)
    if (key) {
      this.window?.touch(mirrored, key, '')
      this.#recorder.upsert(mirrored, key, value, undefined, () => reader.refused(after))
      return
    }
    const refused = reader.refused(after)
    this.window?.touch(mirrored, refused.key, refused.keyText)
    this.#recorder.park(mirrored, 'insert', refused, undefined)
  }

  update(captured: Captured, oldKind: OldKind, before: Image, after: Image): void {
    const { mirrored, reader } = captured
    const fill = reader.hasUnchanged(after) ? this.#fill(captured, oldKind, before, after) : undefined
    const value = this.#recorder.begin(mirrored)
    const key = reader.write(value, after, fill)
    let oldKey = oldKind && !reader.hasSameKey(before, after) ? reader.key(before).bytes : undefined
    if (oldKey && key?.equals(oldKey)) oldKey = undefined
    if (oldKey) this.window?.touch(mirrored, oldKey, '')
    if (key) {
      this.window?.touch(mirrored, key, '')
      this.#recorder.upsert(mirrored, key, value, oldKey, () => reader.refused(after, fill))
      return
    }
    const refused = reader.refused(after, fill)
    this.window?.touch(mirrored, refused.key, refused.keyText)
    if (oldKey && refused.key?.equals(oldKey)) oldKey = undefined
    this.#recorder.park(mirrored, 'update', refused, oldKey)
  }

  /** Where the values come from that the server left out: what is parked is newer than what was accepted. */
  #fill({ mirrored, reader }: Captured, oldKind: OldKind, before: Image, after: Image): Fill {
    const key = oldKind ? reader.key(before, after) : reader.key(after)
    const stored = key.bytes && mirrored.find(key.bytes)
    return {
      row: stored && mirrored.row(stored),
      raw: mirrored.findParked(key.text)?.raw,
      key: oldKind ? before : undefined,
      old: oldKind === 'full' ? before : undefined,
    }
  }

  delete({ mirrored, reader }: Captured, before: Image): void {
    const key = reader.key(before)
    this.window?.touch(mirrored, key.bytes, key.text)
    this.#recorder.delete(mirrored, key.bytes, key.text)
  }

  /** Every row of the mirror is deleted. Yields between slices, so nothing else may be decoded meanwhile. */
  async truncate(mirrored: MirrorTable, nextSlice: () => Promise<void>): Promise<void> {
    this.window?.emptied(mirrored)
    let count = 0
    for (const key of mirrored.keys()) {
      this.#recorder.deleteKey(mirrored, key)
      if (++count % TRUNCATE_SLICE === 0) await nextSlice()
    }
    for (const entry of [...mirrored.parked()]) this.#recorder.parkedGone(mirrored, entry.key, 'truncated')
  }
}
