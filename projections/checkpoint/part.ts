// A shard's part of each checkpoint, in the shard's thread: the rows of its key groups that changed, appended to the shard's file
// while folding goes on. What it says of itself is plain data, so that the manifest can be written by another thread.
import {
  asMainstemError,
  type ByteWriter,
  type ErrorReport,
  type FileSystem,
  isMainstemError,
  type MainstemError,
  reportOf,
} from '../../core/index.ts'
import { type Scheduler, Turns } from '../shards/scheduler.ts'
import { lettersName, saveLetters } from '../skip/letters-file.ts'
import { GROUP_SHIFT, type KeyGroups } from '../state/key-groups.ts'
import type { FoldedView } from '../view.ts'
import { type OpenChunk, RowFileWriter } from './row-file-writer.ts'
import { HashSums, hashBytes, lanes, RowHashes, type RowsHash } from './row-hash.ts'

/** Rows saved between two looks at the clock: about 5 µs. */
const ROWS_PER_CLOCK_LOOK = 32

/** What the part is to write. */
export interface PartRequest {
  /** Number of the checkpoint: names a new file. */
  readonly id: number
  /** All rows into a new file; otherwise what changed, at the end of the last one. */
  readonly full: boolean
}

/** A file with rows of some key groups, as far as a checkpoint goes. */
export interface RowFile {
  readonly name: string
  readonly bytes: number
  readonly groups: KeyGroups
}

export interface PartReport {
  readonly file: RowFile
  /** What this checkpoint added to it. */
  readonly written: number
  /** Rows that changed, or left. */
  readonly rowsWritten: number
  /** By view; not those that had stopped when it began. */
  readonly views: Readonly<Record<string, PartOfView>>
}

export type PartOfView =
  | ({ readonly position: number; readonly error: null } & RowsHash)
  /** Its rows are not all in the file: its last checkpoint stands. */
  | { readonly error: ErrorReport }

export interface PartOptions {
  readonly fs: FileSystem
  /** Folder of the checkpoints. */
  readonly folder: string
  readonly logId: string
  readonly shard: number
  readonly groups: KeyGroups
  readonly views: readonly FoldedView[]
  readonly scheduler: Scheduler
  /** Longest run without a yield, milliseconds. */
  readonly sliceMs: number
  /** Asks the memory limit for bytes. @throws STATE_TOO_LARGE */
  readonly take: (bytes: number) => void
}

/** One view's rows, with the hash of each in the last checkpoint. */
export class ViewPart {
  readonly view: FoldedView
  readonly hashes: RowHashes
  readonly sums = new HashSums()
  position = 0
  error: MainstemError | undefined
  rowsWritten = 0

  constructor(view: FoldedView, take: (bytes: number) => void) {
    this.view = view
    this.hashes = new RowHashes(take)
  }

  /** Begins to save rows, as they are now. */
  begin(chunk: OpenChunk, all: boolean): void {
    this.position = this.view.position
    this.error = undefined
    this.rowsWritten = 0
    this.view.changes.begin(row => this.#save(chunk, row, all), all)
  }

  #save(chunk: OpenChunk, row: number, all: boolean): void {
    const { writer } = chunk
    const from = writer.at
    try {
      this.#write(chunk, row, all)
    } catch (error) {
      writer.at = from
      const known = isMainstemError(error) && error.code === 'STATE_TOO_LARGE'
      this.error ??= known
        ? error
        : asMainstemError(error, 'STATE_INVALID', `a row of '${this.view.name}' cannot be stored`)
    }
  }

  #write(chunk: OpenChunk, row: number, all: boolean): void {
    const { table } = this.view
    const { writer } = chunk
    const from = writer.at
    const keyHash = table.hashOf(row)
    const support = table.support(row)
    const lives = support > 0
    writer.u8(0)
    table.writeKey(row, writer)
    closeKey(writer, from)
    writer.varint(lives ? support : 0)
    if (lives) table.writeStored(row, writer)
    if (lives) hashBytes(writer.buffer, from, writer.at)
    else lanes.low = lanes.high = 0
    const { low, high } = lanes
    this.hashes.exchange(row, low, high)
    const wasThere = lanes.low !== 0 || lanes.high !== 0
    this.sums.add(keyHash >>> GROUP_SHIFT, Number(lives) - Number(wasThere), low - lanes.low, high - lanes.high)
    // What came and went since the last checkpoint is in none; what is made of all rows need not say who left.
    if (!lives && (all || !wasThere)) {
      writer.at = from
      return
    }
    this.rowsWritten++
    chunk.endRow(keyHash)
  }

  drop(): void {
    this.hashes.drop()
    this.sums.clear()
  }
}

/** Sets the varint of a key's length, for which a byte was left at `from`; it is nearly always one. */
function closeKey(writer: ByteWriter, from: number): void {
  const length = writer.at - from - 1
  if (length >= 0x80) {
    writer.u8(0)
    writer.buffer.copyWithin(from + 2, from + 1, writer.at - 1)
    writer.buffer[from + 1] = length >>> 7
  }
  writer.buffer[from] = length < 0x80 ? length : (length & 0x7f) | 0x80
}

export class CheckpointPart {
  readonly #options: PartOptions
  readonly #views: readonly ViewPart[]
  readonly #turns: Turns
  #file: RowFileWriter | undefined
  #running: readonly ViewPart[] = []

  constructor(options: PartOptions) {
    this.#options = options
    this.#views = options.views.map(view => new ViewPart(view, options.take))
    this.#turns = new Turns(options.scheduler, options.sliceMs)
  }

  /** The parts of views, for whoever loads rows. */
  get views(): readonly ViewPart[] {
    return this.#views
  }

  /** Goes on with a file: from it, as far as it is said to go, this shard's rows were loaded, all of them. */
  resume(file: RowFile): void {
    const { fs, folder, logId } = this.#options
    this.#file = new RowFileWriter(fs, folder, file.name, logId, file.bytes)
  }

  /** Begins a checkpoint of this moment, which must be a cut; a matter of microseconds. `finish` of the one before has ended. */
  begin({ id, full }: PartRequest): void {
    const { fs, folder, logId, shard } = this.#options
    if (full || this.#file === undefined) {
      // Whoever was at the last one is done: parts are written one after the other.
      void this.#file?.close().catch(() => {})
      this.#file = new RowFileWriter(fs, folder, rowFileName(id, shard), logId)
    }
    for (const part of this.#views) if (part.view.error) part.drop()
    this.#running = this.#views.filter(({ view }) => !view.error)
    const running = this.#running
    const skipping = running.flatMap(({ view: { name, deadLetters } }) => (deadLetters ? [{ name, deadLetters }] : []))
    const names = [...running.map(({ view }) => view.name), ...skipping.map(({ name }) => lettersName(name))]
    const chunks = this.#file.begin(names)
    for (const [n, part] of running.entries()) part.begin(chunks[n]!, full)
    const firstHash = (this.#options.groups.from << GROUP_SHIFT) >>> 0
    for (const [n, { deadLetters }] of skipping.entries())
      saveLetters(deadLetters, chunks[running.length + n]!, full, firstHash)
  }

  /** Resolves when the disk is not far behind; undefined where it is not now, so that folding need not wait. */
  room(): Promise<void> | undefined {
    return this.#file?.room()
  }

  /** Writes the rows that are left. On return all of them are on disk, though nothing names them. @throws what the disk threw */
  async finish(): Promise<PartReport> {
    const file = this.#file!
    const running = this.#running
    for (const part of running) await this.#saveRest(part, file)
    const sums = new Map(running.map(({ view, sums: each }) => [view.name, each]))
    const written = await file.end(name => sums.get(name)?.groups() ?? [])
    const views = Object.fromEntries(running.map(part => [part.view.name, ended(part)]))
    const rowsWritten = running.reduce((sum, part) => sum + part.rowsWritten, 0)
    return { file: { name: file.name, bytes: file.bytes, groups: this.#options.groups }, written, rowsWritten, views }
  }

  /** Whatever happens to the disk: a row that is left behind would be missing in the next one. */
  async #saveRest({ view }: ViewPart, file: RowFileWriter): Promise<void> {
    let rows = 0
    await this.#turns.next()
    while (view.changes.step()) {
      if (this.#options.sliceMs > 0 && ++rows % ROWS_PER_CLOCK_LOOK !== 0) continue
      if (this.#turns.over) await this.#turns.next()
      const room = file.room()
      if (room !== undefined) await room
    }
  }

  async close(): Promise<void> {
    await this.#file?.close()
  }
}

function ended({ view, position, error, sums }: ViewPart): PartOfView {
  // A row that is not of its type shows only here: the view stops, and those that fold it.
  if (error !== undefined) view.stop(error)
  if (view.error) return { error: reportOf(view.error) }
  return { position, error: null, ...sums.total() }
}

export const ROW_FILE_NAME = /^(\d{10})-(\d{3})\.rows$/

const rowFileName = (id: number, shard: number): string =>
  `${String(id).padStart(10, '0')}-${String(shard).padStart(3, '0')}.rows`
