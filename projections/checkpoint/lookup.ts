// Rows of some keys out of checkpoints and savepoints, without loading them: of each file the hashes of keys are read once, 4 bytes
// a row, and then the chunks in which a hash is found. What was read is kept: a later checkpoint of a file adds to it.
import { ByteReader, type FileSystem, isMainstemError, textOf } from '../../core/index.ts'
import type { Turns } from '../shards/scheduler.ts'
import type { RowSink } from './load.ts'
import type { RowFile } from './part.ts'
import { type Chunk, HEAD_BYTES, HEADER_BYTES } from './row-file.ts'
import { corrupt, RowFileReader } from './row-file-reader.ts'

/** Hashes kept, over all files: 4 bytes each. */
const HASHES_MAX = 16_000_000

/** A chunk of a view, and the hashes of its rows' keys. */
interface HashedChunk {
  readonly offset: number
  /** Undefined where there are too many to be kept. */
  hashes: Uint32Array | undefined
  readonly rows: number
}

/** What one checkpoint added to a file. */
interface HashedSegment {
  readonly from: number
  /** Newest first. */
  readonly chunks: readonly HashedChunk[]
}

/** Of one view in a file: by where they end. */
type HashedFile = Map<number, HashedSegment>

export interface KeysWanted {
  readonly folder: string
  /** Tells files apart that have the same name at different times. */
  readonly identity: string
  readonly files: readonly RowFile[]
  readonly view: string
  readonly hashes: ReadonlySet<number>
  readonly sink: RowSink
}

export class RowLookup {
  readonly #fs: FileSystem
  readonly #logId: string
  /** The least recently used first. */
  readonly #known = new Map<string, HashedFile>()
  readonly #hashesMax: number
  #hashes = 0

  constructor(fs: FileSystem, logId: string, hashesMax: number = HASHES_MAX) {
    this.#fs = fs
    this.#logId = logId
    this.#hashesMax = hashesMax
  }

  /** Gives the rows whose keys have these hashes to the sink, newer ones of a key first. @throws CHECKPOINT_CORRUPT, what the sink throws */
  async take(wanted: KeysWanted, turns: Pick<Turns, 'over' | 'next'>): Promise<void> {
    if (wanted.hashes.size === 0) return
    for (const { name, bytes } of wanted.files) {
      const reader = await RowFileReader.open(this.#fs, wanted.folder, name, this.#logId)
      try {
        await this.#takeOf(reader, bytes, `${wanted.folder} ${name} ${wanted.identity} ${wanted.view}`, wanted, turns)
      } finally {
        await reader.close()
      }
    }
  }

  async #takeOf(
    reader: RowFileReader,
    bytes: number,
    name: string,
    { view, hashes, sink }: KeysWanted,
    turns: Pick<Turns, 'over' | 'next'>,
  ): Promise<void> {
    const known = this.#fileOf(name)
    for (let end = bytes; end > HEADER_BYTES; ) {
      const segment = known.get(end) ?? (await segmentOf(reader, end, view))
      known.set(end, segment)
      for (const chunk of segment.chunks) {
        const column = chunk.hashes ?? (await this.#read(reader, chunk, name, known))
        if (isAmong(column, hashes))
          takeRows(reader.path, await reader.chunkAt(chunk.offset, bytes), column, hashes, sink)
        if (turns.over) await turns.next()
      }
      end = segment.from
    }
  }

  #fileOf(name: string): HashedFile {
    const known: HashedFile = this.#known.get(name) ?? new Map()
    this.#known.delete(name)
    this.#known.set(name, known)
    return known
  }

  async #read(reader: RowFileReader, chunk: HashedChunk, name: string, known: HashedFile): Promise<Uint32Array> {
    const bytes = await reader.read(chunk.offset + HEAD_BYTES, chunk.rows * 4)
    const hashes = Uint32Array.from({ length: chunk.rows }, (_, n) => bytes.readUInt32LE(n * 4))
    // Another read may have let this file go, or read the chunk, meanwhile.
    if (chunk.hashes === undefined && this.#known.get(name) === known && this.#hasRoom(chunk.rows)) {
      chunk.hashes = hashes
      this.#hashes += chunk.rows
    }
    return hashes
  }

  /** Lets files go that nobody has asked for the longest; not the one at hand. */
  #hasRoom(rows: number): boolean {
    for (const [name, file] of this.#known) {
      if (this.#hashes + rows <= this.#hashesMax) return true
      if (this.#known.size === 1) return false
      this.#known.delete(name)
      for (const { chunks } of file.values()) for (const { hashes } of chunks) this.#hashes -= hashes?.length ?? 0
    }
    return this.#hashes + rows <= this.#hashesMax
  }
}

async function segmentOf(reader: RowFileReader, end: number, view: string): Promise<HashedSegment> {
  const { from, views } = await reader.segmentBefore(end)
  const chunks = views.find(({ name }) => name === view)?.chunks ?? []
  return { from, chunks: chunks.map(([offset, rows]) => ({ offset, rows, hashes: undefined })).reverse() }
}

function isAmong(column: Uint32Array, hashes: ReadonlySet<number>): boolean {
  if (hashes.size > 1) return column.some(hash => hashes.has(hash))
  for (const hash of hashes) return column.includes(hash)
  return false
}

function takeRows(
  path: string,
  { rows, columns, body }: Chunk,
  column: Uint32Array,
  hashes: ReadonlySet<number>,
  sink: RowSink,
): void {
  try {
    const lengths = new ByteReader(columns, rows * 4)
    for (let n = 0, from = 0; n < rows; n++) {
      const to = from + lengths.varint()
      if (to > body.length) throw new RangeError('rows end early')
      if (hashes.has(column[n]!)) sink.take(body, from, to, column[n]!)
      from = to
    }
  } catch (error) {
    throw isMainstemError(error) ? error : corrupt(path, textOf(error), error)
  }
}
