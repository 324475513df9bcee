// Rows of a checkpoint back into views, or to whoever else wants them: from the newest row of each key to the oldest, so that each
// key is decoded once. A shard takes the rows of its key groups, from whatever files there are.
import {
  ByteReader,
  type FileSystem,
  isMainstemError,
  type MainstemError,
  RUN_ROWS_MAX,
  textOf,
} from '../../core/index.ts'
import type { ReadRow } from '../migrate.ts'
import type { Turns } from '../shards/scheduler.ts'
import { LIVE, TOUCHED } from '../state/changes.ts'
import { readInteger } from '../state/key-bytes.ts'
import { GROUP_SHIFT, type KeyGroups } from '../state/key-groups.ts'
import { KeyPlaces, KeySource } from '../state/key-heap.ts'
import { RowList } from '../state/row-list.ts'
import { NO_ROW, RunRows } from '../state/row-places.ts'
import type { RowFile, ViewPart } from './part.ts'
import type { Chunk, SegmentView } from './row-file.ts'
import { corrupt, RowFileReader } from './row-file-reader.ts'
import { hashBytes, lanes } from './row-hash.ts'

/** A key's first byte says how long it is; so many and fewer are an integer of 32 bits. */
const INTEGER_BYTES_MAX = 5

/** Takes the rows of one view. */
export interface RowSink {
  /**
   * Takes a row: varint length of key, key, varint support, fields; newer ones of the same key came before.
   * @throws STATE_TOO_LARGE and other errors of the view, which gets no more rows then; RangeError where the bytes are no row
   */
  take(bytes: Buffer, from: number, to: number, keyHash: number): void
  /** Takes several of one chunk, so that looking for their keys can overlap. Default: `take`, one after the other. */
  takeRun?(bytes: Buffer, run: StoredRun): void
  /** Says how many rows each key group has at the end: before the first of them. Default: nobody needs to know. */
  expect?(groups: SegmentView['groups']): void
  /** An error of the view, thrown by `take`. */
  failed(error: MainstemError): void
}

/** Rows of a chunk: where they begin and end, and the hashes of their keys. */
export class StoredRun {
  readonly from = new Uint32Array(RUN_ROWS_MAX)
  readonly to = new Uint32Array(RUN_ROWS_MAX)
  readonly hashes = new Uint32Array(RUN_ROWS_MAX)
  count = 0
}

export interface RowsWanted {
  readonly sink: RowSink
  readonly files: readonly RowFile[]
}

export interface LoadOptions {
  readonly fs: FileSystem
  readonly folder: string
  readonly logId: string
  readonly groups: KeyGroups
  readonly turns: Pick<Turns, 'over' | 'next'>
}

/** Reads what is wanted, each file once. @param wanted by view @throws CHECKPOINT_CORRUPT naming the file; some rows have come then */
export async function loadRows(options: LoadOptions, wanted: ReadonlyMap<string, RowsWanted>): Promise<void> {
  const files = new Map<string, { file: RowFile; sinks: Map<string, RowSink> }>()
  for (const [view, { sink, files: ofView }] of wanted) {
    for (const file of ofView) {
      if (file.groups.to <= options.groups.from || file.groups.from >= options.groups.to) continue
      // Views may stand at different places in one file.
      const id = `${file.name} ${file.bytes}`
      const entry = files.get(id) ?? { file, sinks: new Map<string, RowSink>() }
      entry.sinks.set(view, sink)
      files.set(id, entry)
    }
  }
  for (const { file, sinks } of files.values()) await loadFile(options, file, sinks)
}

async function loadFile(options: LoadOptions, file: RowFile, sinks: Map<string, RowSink>): Promise<void> {
  const { fs, folder, logId, groups, turns } = options
  const reader = await RowFileReader.open(fs, folder, file.name, logId)
  try {
    const begun = new Set<RowSink>()
    for await (const { chunk, segment } of reader.chunks(file.bytes)) {
      const { name: view, groups: counts } = segment.views[chunk.view]!
      const sink = sinks.get(view)
      if (sink === undefined) continue
      try {
        if (!begun.has(sink)) sink.expect?.(counts)
        begun.add(sink)
        takeChunk(chunk, groups, sink)
      } catch (error) {
        if (!isMainstemError(error)) throw corrupt(reader.path, textOf(error), error)
        sinks.delete(view)
        sink.failed(error)
      }
      if (turns.over) await turns.next()
    }
  } finally {
    await reader.close()
  }
}

const run = new StoredRun()

const foreign = (): RangeError => new RangeError('a key is of another group than its hash says')

function takeChunk({ rows, columns, body }: Chunk, groups: KeyGroups, sink: RowSink): void {
  const lengths = new ByteReader(columns, rows * 4)
  let from = 0
  run.count = 0
  for (let n = 0; n < rows; n++) {
    const to = from + lengths.varint()
    if (to > body.length) throw new RangeError('rows end early')
    const keyHash = columns.readUInt32LE(n * 4)
    const group = keyHash >>> GROUP_SHIFT
    if (group >= groups.from && group < groups.to) {
      run.from[run.count] = from
      run.to[run.count] = to
      run.hashes[run.count++] = keyHash
      if (run.count === RUN_ROWS_MAX) takeRun(body, sink)
    }
    from = to
  }
  takeRun(body, sink)
}

function takeRun(body: Buffer, sink: RowSink): void {
  if (sink.takeRun) sink.takeRun(body, run)
  else for (let n = 0; n < run.count; n++) sink.take(body, run.from[n]!, run.to[n]!, run.hashes[n]!)
  run.count = 0
}

/** Puts rows into a view that is empty, and remembers the hashes they have as they are stored. */
export class ViewRows implements RowSink {
  readonly #part: ViewPart
  readonly #read: ReadRow
  readonly #reader = new ByteReader(Buffer.alloc(0))
  /** Keys that left: they stand in the table until all older rows have come. */
  readonly #left = new RowList()
  /** The keys of a run, and their rows. */
  readonly #numbers = new Float64Array(RUN_ROWS_MAX)
  readonly #source = new KeySource(Buffer.alloc(0))
  readonly #places = new KeyPlaces()
  readonly #keyEnds = new Uint32Array(RUN_ROWS_MAX)
  readonly #rows = new RunRows()
  error: MainstemError | undefined

  /** @param read sets a row's fields where they are stored in another form than the view's */
  constructor(part: ViewPart, read?: ReadRow) {
    const { table } = part.view
    this.#part = part
    this.#read = read ?? ((row, reader) => table.readStored(row, reader))
  }

  expect(groups: SegmentView['groups']): void {
    const { table } = this.#part.view
    for (const [group, rows] of groups) table.reserve(group, rows)
  }

  takeRun(bytes: Buffer, stored: StoredRun): void {
    const { table } = this.#part.view
    const { count } = stored
    switch (this.#readKeys(bytes, stored)) {
      case 'numbers':
        table.findOrAddNumbers(this.#numbers, 0, count, this.#rows)
        break
      case 'bytes':
        table.findOrAddBytes(this.#source, this.#places, count, this.#rows)
        break
      default:
        for (let n = 0; n < count; n++) this.take(bytes, stored.from[n]!, stored.to[n]!, stored.hashes[n]!)
        return
    }
    if (this.#rows.found < count) throw foreign()
    for (let n = 0; n < count; n++)
      this.#put(this.#rows.rows[n]!, bytes, stored.from[n]!, this.#keyEnds[n]!, stored.to[n]!, stored.hashes[n]!)
  }

  /** Whether the keys of all rows can be looked for together: as numbers, or as the bytes that the table keeps. */
  #readKeys(bytes: Buffer, { from, count }: StoredRun): 'numbers' | 'bytes' | undefined {
    const { own } = this.#part.view.table.keys
    if (own !== 'integer' && own !== 'string' && own !== undefined) return undefined
    const reader = this.#reader
    reader.buffer = bytes
    this.#source.set(bytes)
    for (let n = 0; n < count; n++) {
      reader.at = from[n]!
      const length = reader.varint()
      const keyFrom = reader.at
      const keyTo = keyFrom + length
      this.#keyEnds[n] = keyTo
      if (own === 'integer') {
        if (length > INTEGER_BYTES_MAX) return undefined
        this.#numbers[n] = readInteger(bytes, keyFrom, keyTo)
        continue
      }
      // The bytes of a text end with two that are zero; where one is among them it stands as two.
      const textTo = own === 'string' ? keyTo - 2 : keyTo
      if (own === 'string') for (let at = keyFrom; at < textTo; at++) if (bytes[at] === 0) return undefined
      this.#places.starts[n] = keyFrom
      this.#places.ends[n] = textTo
    }
    return own === 'integer' ? 'numbers' : 'bytes'
  }

  take(bytes: Buffer, from: number, to: number, keyHash: number): void {
    const { table } = this.#part.view
    const reader = this.#reader
    reader.buffer = bytes
    reader.at = from
    const keyTo = reader.varint() + reader.at
    this.#put(table.findOrAdd(table.readKey(bytes, reader.at, keyTo)), bytes, from, keyTo, to, keyHash)
  }

  #put(row: number, bytes: Buffer, from: number, keyTo: number, to: number, keyHash: number): void {
    const { table } = this.#part.view
    if (row === NO_ROW) throw foreign()
    if (table.flags(row) !== 0) return
    const reader = this.#reader
    reader.at = keyTo
    const support = reader.varint()
    if (support === 0) {
      table.setFlags(row, TOUCHED)
      this.#left.push(row)
      return
    }
    this.#read(row, reader)
    if (reader.at !== to) throw new RangeError('a row is not of its layout')
    table.checkHeap()
    table.setSupport(row, support)
    table.setFlags(row, LIVE)
    this.#part.view.size++
    hashBytes(bytes, from, to)
    const { low, high } = lanes
    this.#part.hashes.exchange(row, low, high)
    this.#part.sums.add(keyHash >>> GROUP_SHIFT, 1, low, high)
  }

  failed(error: MainstemError): void {
    this.error = error
  }

  /** To be called when all rows have come. */
  end(): void {
    const { table } = this.#part.view
    for (; this.#left.length > 0; ) {
      const row = this.#left.pop()
      table.setFlags(row, 0)
      table.remove(row)
    }
  }
}
