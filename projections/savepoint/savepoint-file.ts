// A savepoint: all rows of all views at one cut, in one file that stands alone: rows by the row codec, packed, and behind them a
// description with the schemas by which they are stored. Made of the files of a whole checkpoint, chunk by chunk.
import { join } from 'node:path'
import { promisify } from 'node:util'
import { zstdCompress, zstdCompressSync } from 'node:zlib'
import { z } from 'zod'
import {
  asMainstemError,
  type FileSystem,
  fail,
  isMainstemError,
  type MainstemError,
  nodeFileSystem,
} from '../../core/index.ts'
import { type Checkpoint, viewSchema } from '../checkpoint/manifest.ts'
import type { RowFile } from '../checkpoint/part.ts'
import { chunkPieces, DESCRIPTION, type SegmentView, ZSTD } from '../checkpoint/row-file.ts'
import { RowFileReader } from '../checkpoint/row-file-reader.ts'
import { type OpenChunk, RowFileWriter } from '../checkpoint/row-file-writer.ts'
import { lettersName } from '../skip/letters-file.ts'
import { ALL_GROUPS } from '../state/key-groups.ts'
import type { FoldedView } from '../view.ts'

const FORMAT = 1
const SUFFIX = '.savepoint'
const TEMPORARY = '.tmp'
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/
const compressInThread = promisify(zstdCompress)

/** In a thread of the runtime; over other file systems (simulated ones) here, where a seed decides the order of everything. */
const compressorFor = (fs: FileSystem): ((body: Buffer) => Promise<Buffer>) =>
  fs === nodeFileSystem ? compressInThread : async body => zstdCompressSync(body)

const savedViewSchema = viewSchema.omit({ files: true }).extend({
  /** Columns of the key and fields of a row, as they are stored, described. */
  key: z.array(z.unknown()),
  fields: z.array(z.unknown()),
})

const descriptionSchema = z.object({
  format: z.literal(FORMAT),
  name: z.string(),
  /** ISO 8601. */
  madeAt: z.string(),
  logId: z.string(),
  position: z.int().min(0),
  complete: z.array(z.string()),
  views: z.record(z.string(), savedViewSchema),
})

export type SavepointDescription = Readonly<z.output<typeof descriptionSchema>>
export type SavedView = SavepointDescription['views'][string]

/** A savepoint as it lies on disk. */
export interface Savepoint extends SavepointDescription {
  readonly path: string
  /** Of the file. */
  readonly bytes: number
  /** Its rows, for whoever loads them. */
  readonly file: RowFile
}

/** @throws SAVEPOINT_NAME_INVALID */
export function savepointFile(name: string): string {
  if (NAME.test(name) && !name.endsWith(SUFFIX)) return `${name}${SUFFIX}`
  throw fail('SAVEPOINT_NAME_INVALID', `'${name.slice(0, 100)}' cannot name a savepoint`)
}

/** The names of the savepoints in a folder. */
export async function savepointNames(fs: FileSystem, folder: string): Promise<readonly string[]> {
  const files = await fs.list(folder)
  return files
    .filter(file => file.endsWith(SUFFIX))
    .map(file => file.slice(0, -SUFFIX.length))
    .sort()
}

/** What a savepoint says of itself; its rows are checked when they are loaded. @throws SAVEPOINT_UNUSABLE */
export async function readSavepoint(fs: FileSystem, folder: string, file: string): Promise<Savepoint> {
  const path = join(folder, file)
  let reader: RowFileReader | undefined
  try {
    reader = await RowFileReader.open(fs, folder, file)
    const bytes = await reader.size()
    const { chunk, from } = await reader.chunkBefore(bytes)
    if (chunk.kind !== DESCRIPTION) throw unusable(path, 'it ends without its description')
    const description = descriptionSchema.safeParse(JSON.parse(chunk.columns.toString('utf8')))
    if (!description.success) throw unusable(path, description.error.issues[0]?.message ?? 'its description')
    if (description.data.logId !== reader.logId) throw unusable(path, 'its header is of another log')
    return { ...description.data, path, bytes, file: { name: file, bytes: from, groups: ALL_GROUPS } }
  } catch (error) {
    throw isUnusable(error) ? error : unusable(path, asMainstemError(error).detail ?? String(error), error)
  } finally {
    await reader?.close()
  }
}

/** How the rows of views are stored, described. */
export const schemasOf = (views: readonly FoldedView[]): SavepointRequest['schemas'] =>
  Object.fromEntries(
    views.map(({ name, key, storedFields }) => [name, { key: [...key.columns], fields: [...storedFields] }]),
  )

export const unusable = (path: string, detail: string, cause?: unknown): MainstemError =>
  fail('SAVEPOINT_UNUSABLE', 'a savepoint cannot be used', { detail: `${path}: ${detail}`, cause })

const isUnusable = (error: unknown): boolean => isMainstemError(error) && error.code === 'SAVEPOINT_UNUSABLE'

export interface SavepointRequest {
  readonly fs: FileSystem
  /** Where it comes to stand. */
  readonly folder: string
  readonly name: string
  readonly madeAt: string
  /** Folder of the checkpoints. */
  readonly from: string
  readonly logId: string
  /** One of which each file begins with all of its rows and ends there. */
  readonly checkpoint: Checkpoint
  /** By view, how its key and rows are stored. */
  readonly schemas: Readonly<Record<string, Pick<SavedView, 'key' | 'fields'>>>
  /** Told of rows that have been written. */
  readonly onRows: (rows: number) => void
  readonly signal: AbortSignal
}

/** Writes a savepoint. On return it is on disk. @throws SAVEPOINT_EXISTS, the signal's reason, what the disk threw */
export async function writeSavepoint(request: SavepointRequest): Promise<Savepoint> {
  const { fs, folder, name, logId } = request
  const file = savepointFile(name)
  await fs.makeFolder(folder)
  const temporary = `${file}${TEMPORARY}`
  const writer = new RowFileWriter(fs, folder, temporary, logId)
  try {
    await copyRows(request, writer)
    await writer.close()
    // Only now: whoever made one of this name meanwhile has it.
    if ((await fs.list(folder)).includes(file)) throw savepointExists(name)
    await fs.rename(join(folder, temporary), join(folder, file))
    await fs.syncFolder(folder)
  } catch (error) {
    await writer.close().catch(() => {})
    await fs.remove(join(folder, temporary)).catch(() => {})
    throw error
  }
  return readSavepoint(fs, folder, file)
}

export const savepointExists = (name: string): MainstemError =>
  fail('SAVEPOINT_EXISTS', `there is a savepoint '${name}'`)

async function copyRows(request: SavepointRequest, writer: RowFileWriter): Promise<void> {
  const { fs, from, logId, checkpoint, name, madeAt, schemas } = request
  const { position, complete } = checkpoint
  const names = Object.keys(checkpoint.views)
  const kept = [...names, ...names.map(lettersName)]
  const chunks = new Map(writer.begin(kept).map(chunk => [chunk.name, chunk]))
  const groups = new Map<string, SegmentView['groups'][number][]>(kept.map(view => [view, []]))
  // All at once, so that a checkpoint that comes meanwhile takes none away.
  const files = new Map(Object.values(checkpoint.views).flatMap(view => view.files.map(file => [file.name, file])))
  const readers = await Promise.all(
    [...files.values()].map(async file => ({ file, reader: await RowFileReader.open(fs, from, file.name, logId) })),
  )
  try {
    for (const { reader, file } of readers) await copyFile(request, reader, file, chunks, groups)
  } finally {
    await Promise.all(readers.map(({ reader }) => reader.close()))
  }
  const views = Object.fromEntries(
    Object.entries(checkpoint.views).map(([view, { files: _, ...saved }]) => [view, { ...saved, ...schemas[view]! }]),
  )
  const description: SavepointDescription = { format: FORMAT, name, madeAt, logId, position, complete, views }
  const text = Buffer.from(JSON.stringify(description))
  await writer.end(view => groups.get(view)!, chunkPieces(DESCRIPTION, 0, 0, text, Buffer.alloc(0)))
}

async function copyFile(
  { fs, checkpoint, onRows, signal }: SavepointRequest,
  reader: RowFileReader,
  file: RowFile,
  chunks: ReadonlyMap<string, OpenChunk>,
  groups: ReadonlyMap<string, SegmentView['groups'][number][]>,
): Promise<void> {
  for (const { name, groups: ofView } of (await reader.segmentBefore(file.bytes)).views)
    if (checkpoint.views[name]?.files.some(each => each.name === file.name)) groups.get(name)!.push(...ofView)
  const compress = compressorFor(fs)
  for await (const { chunk, segment } of reader.chunks(file.bytes)) {
    signal.throwIfAborted()
    const to = chunks.get(segment.views[chunk.view]!.name)
    if (to === undefined) continue
    to.copy(chunk, await compress(chunk.body), ZSTD)
    onRows(chunk.rows)
    await to.file.room()
  }
}
