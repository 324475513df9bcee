// Net changes of the rows of fed views, in the shard that folds them: written down as transactions end, and taken, as bytes, with
// the end of each slice. A view that is not fed writes nothing down and keeps no copies for it.
import { type AnyRow, ByteWriter, createRowCodec, type RowCodec } from '../../core/index.ts'
import type { RecordInfo } from '../handler-context.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'

/** What the changes of a view may take in one slice: whoever follows it is told that some are missing, and reads its rows again. */
export const RECORDED_BYTES_MAX = 64 * 1024 * 1024

/** The changes of a view's rows in one slice, of one shard. */
export interface RecordedChanges {
  readonly view: string
  /** By transaction, then by key; see `readChanges`. */
  readonly bytes: Uint8Array
  /** There were too many: none of them is here. */
  readonly lost: boolean
}

/** Which of a change's rows follow its key. */
export const BEFORE = 1
export const AFTER = 2

interface Recording {
  readonly view: FoldedView
  readonly codec: RowCodec
  writer: ByteWriter
  lost: boolean
}

/** A larger buffer is given back once it was taken. */
const KEPT_BYTES_MAX = 1024 * 1024

export class ChangeRecorder {
  readonly #info: RecordInfo
  readonly #bytesMax: number
  readonly #row = new ByteWriter()
  #recordings: readonly Recording[] = []

  /** @param info says which transaction is ending */
  constructor(info: RecordInfo, bytesMax = RECORDED_BYTES_MAX) {
    this.#info = info
    this.#bytesMax = bytesMax
  }

  /** From now on, which is a cut, the changes of these views are recorded, and of no others. */
  feed(views: readonly FoldedView[]): void {
    const before = this.#recordings
    for (const { view } of before) if (!views.includes(view)) view.feed = undefined
    this.#recordings = views.map(view => {
      const known = before.find(each => each.view === view)
      if (known) return known
      const recording = { view, codec: createRowCodec(view.value), writer: new ByteWriter(), lost: false }
      view.feed = (_, id, before, after) => this.#record(recording, id, before, after)
      return recording
    })
  }

  #record(recording: Recording, id: KeyId, before: AnyRow | null, after: AnyRow | null): void {
    if (recording.lost) return
    const { view, writer } = recording
    writer.varint(this.#info.position)
    writer.bytes(view.table.keys.bytesOf(id))
    writer.u8((before ? BEFORE : 0) | (after ? AFTER : 0))
    if (before) this.#write(recording, before)
    if (after) this.#write(recording, after)
    if (writer.at <= this.#bytesMax) return
    recording.lost = true
    writer.at = 0
  }

  #write({ codec, writer }: Recording, row: AnyRow): void {
    const encoded = this.#row
    encoded.at = 0
    codec.encode(encoded, row)
    writer.bytes(encoded.buffer.subarray(0, encoded.at))
  }

  /** Takes what was recorded since it was taken last. */
  take(): readonly RecordedChanges[] {
    return this.#recordings.flatMap(recording => {
      const { view, writer, lost } = recording
      if (writer.at === 0 && !lost) return []
      const bytes = Uint8Array.from(writer.buffer.subarray(0, writer.at))
      if (writer.buffer.length > KEPT_BYTES_MAX) recording.writer = new ByteWriter()
      writer.at = 0
      recording.lost = false
      return [{ view: view.name, bytes, lost }]
    })
  }
}
