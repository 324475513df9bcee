// The rows of a chunk, kept until the stream has got to where the chunk stands.
import { ByteWriter, type MirrorTable, type Recorder, type RefusedRow } from '../../core/index.ts'
import type { Image } from './image.ts'
import type { RowReader } from './rows.ts'
import type { Window } from './window.ts'

/** Rows merged in one turn of the event loop. */
const SLICE_ROWS = 250

interface Accepted {
  readonly key: Buffer
  /** As it is stored. */
  readonly row: Buffer
}

export class ChunkRows {
  readonly #rows: (Accepted | RefusedRow)[] = []
  readonly #writer = new ByteWriter()
  /** Of the rows as they came. */
  bytes = 0

  get count(): number {
    return this.#rows.length
  }

  /** For a reading to call. */
  readonly take = (reader: RowReader, image: Image): void => {
    this.bytes += image.bytes.length
    const writer = this.#writer
    writer.at = 0
    const key = reader.write(writer, image)
    this.#rows.push(key ? { key: Buffer.from(key), row: writer.copy() } : reader.refused(image))
  }

  /** Records what differs from the mirror, but where the stream is newer. */
  async merge(table: MirrorTable, recorder: Recorder, window: Window, nextSlice: () => Promise<void>): Promise<void> {
    let count = 0
    for (const each of this.#rows) {
      if (++count % SLICE_ROWS === 0) await nextSlice()
      if ('row' in each) {
        const { key, row } = each
        if (window.has(key, '')) continue
        const value = recorder.begin(table)
        value.raw(row)
        recorder.upsert(table, key, value, undefined, () => refusedOf(table, key, row))
      } else if (!window.has(each.key, each.keyText)) recorder.seenRefused(table, each)
    }
  }

  /** Those of `keys` that no row has. */
  missing(keys: readonly Buffer[]): Buffer[] {
    const shown = new Set(this.#rows.map(({ key }) => key?.toString('latin1')))
    return keys.filter(key => !shown.has(key.toString('latin1')))
  }

  /** Names of the rows whose key itself was refused. */
  get keyless(): readonly string[] {
    return this.#rows.flatMap(each => ('row' in each || each.key ? [] : [each.keyText]))
  }
}

/** The log does not take a row that its contract takes: it is too large. */
function refusedOf(table: MirrorTable, key: Buffer, row: Buffer): RefusedRow {
  const raw = Object.entries(table.rowOf(row)).map(([name, value]) => [name, value === null ? null : String(value)])
  return {
    key,
    keyText: table.contract.key.format(table.contract.key.decode(key)),
    raw: Object.fromEntries(raw),
    error: '',
  }
}
