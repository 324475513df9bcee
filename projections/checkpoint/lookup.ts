// Rows of some keys out of a checkpoint or savepoint, without loading it: of each file the hashes of keys are read once, 4 bytes a
// row, and then the chunks in which a hash is found.
import { ByteReader, type FileSystem } from '../../core/index.ts'
import type { RowFile } from './part.ts'
import { HEAD_BYTES, HEADER_BYTES, type Segment } from './row-file.ts'
import { RowFileReader } from './row-file-reader.ts'

/** A chunk of the view, and the hashes of its rows' keys. */
interface Hashed {
  readonly reader: RowFileReader
  readonly offset: number
  readonly bytesMax: number
  readonly hashes: Uint32Array
}

export interface FoundRow {
  /** How many rows or events it is made of. */
  readonly support: number
  /** Its fields, the hidden ones too, by the row codec. */
  readonly stored: Buffer
}

/** One view's rows as a checkpoint has them. Open ones hold 4 bytes of memory for each row, and the files. */
export class RowLookup {
  readonly #readers: RowFileReader[] = []
  /** Newest first, so that of a key's rows the first one counts. */
  readonly #chunks: Hashed[] = []

  /** @throws CHECKPOINT_CORRUPT */
  static async open(
    fs: FileSystem,
    folder: string,
    logId: string,
    files: readonly RowFile[],
    view: string,
  ): Promise<RowLookup> {
    const lookup = new RowLookup()
    try {
      for (const { name, bytes } of files)
        await lookup.#add(await RowFileReader.open(fs, folder, name, logId), bytes, view)
      return lookup
    } catch (error) {
      await lookup.close()
      throw error
    }
  }

  async #add(reader: RowFileReader, bytes: number, view: string): Promise<void> {
    this.#readers.push(reader)
    for (let end = bytes; end > HEADER_BYTES; ) {
      const segment: Segment = await reader.segmentBefore(end)
      const chunks = segment.views.find(({ name }) => name === view)?.chunks ?? []
      for (const [offset, rows] of [...chunks].reverse()) {
        const column = await reader.read(offset + HEAD_BYTES, rows * 4)
        const hashes = Uint32Array.from({ length: rows }, (_, n) => column.readUInt32LE(n * 4))
        this.#chunks.push({ reader, offset, bytesMax: bytes, hashes })
      }
      end = segment.from
    }
  }

  /** The row of a key; undefined where there is none. @param hash of the key, by the table's `hashOf` @throws CHECKPOINT_CORRUPT */
  async find(key: Uint8Array, hash: number): Promise<FoundRow | undefined> {
    for (const { reader, offset, bytesMax, hashes } of this.#chunks) {
      if (!hashes.includes(hash)) continue
      const { rows, columns, body } = await reader.chunkAt(offset, bytesMax)
      const lengths = new ByteReader(columns, rows * 4)
      for (let n = 0, from = 0; n < rows; n++) {
        const to = from + lengths.varint()
        const found = hashes[n] === hash ? rowOf(body.subarray(from, to), key) : undefined
        if (found !== undefined) return found.support === 0 ? undefined : found
        from = to
      }
    }
    return undefined
  }

  async close(): Promise<void> {
    for (const reader of this.#readers.splice(0)) await reader.close()
  }
}

/** What a row says, where it is of this key. */
function rowOf(bytes: Buffer, key: Uint8Array): FoundRow | undefined {
  const reader = new ByteReader(bytes)
  if (Buffer.compare(reader.bytes(), key) !== 0) return undefined
  const support = reader.varint()
  return { support, stored: Buffer.from(bytes.subarray(reader.at)) }
}
