// `checkpoints.json`: the checkpoints that can be restored, newest first. Replaced whole: it is what makes a checkpoint of files
// that shards wrote, at one instant.
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { type FileSystem, readWhole, writeStored } from '../../core/index.ts'
import { KEY_GROUPS } from '../state/key-groups.ts'
import { ROW_FILE_NAME } from './part.ts'

export const MANIFEST = 'checkpoints.json'
const FORMAT = 1

const count = z.int().min(0)
const group = z.int().min(0).max(KEY_GROUPS)
const files = z.array(
  z.object({
    name: z.string().regex(ROW_FILE_NAME),
    /** Of the file: what it has beyond belongs to later checkpoints. */
    bytes: count,
    /** The key groups whose rows it has. */
    groups: z.object({ from: group, to: group }),
  }),
)

export const viewSchema = z.object({
  position: count,
  /** Of the log's base from which it was folded. */
  generation: count,
  fingerprint: z.string(),
  facts: z.object({ state: z.string(), definition: z.string(), contracts: z.record(z.string(), z.int()) }),
  continued: z.array(
    z.object({
      position: count,
      fingerprint: z.string(),
      migrated: z.literal(true).exactOptional(),
      savepoint: z.string().exactOptional(),
      replayedFrom: count.exactOptional(),
    }),
  ),
  rows: count,
  /** Of all rows, in no order: 64 bits as 16 hex digits. */
  hash: z.string().regex(/^[0-9a-f]{16}$/),
  files,
})

const checkpointSchema = z.object({
  id: count,
  /** The cut. */
  position: count,
  /** The files' first checkpoint, its bytes, and those that later ones appended. */
  chain: z.object({ id: count, base: count, appended: count }),
  /** Sources whose snapshot was complete. */
  complete: z.array(z.string()),
  views: z.record(z.string(), viewSchema),
})

const contentSchema = z.object({
  format: z.literal(FORMAT),
  logId: z.string(),
  /** Measured by the last start that had much to catch up with. */
  recordsPerSecond: z.number().nullable(),
  /** Newest first. */
  checkpoints: z.array(checkpointSchema),
})

/** What a checkpoint says of one view. */
export type ViewCheckpoint = Readonly<z.output<typeof viewSchema>>
export type Checkpoint = Readonly<z.output<typeof checkpointSchema>>
export type Manifest = Readonly<z.output<typeof contentSchema>>

export function writeManifest(fs: FileSystem, folder: string, content: Omit<Manifest, 'format'>): Promise<void> {
  const stored: Manifest = { format: FORMAT, ...content }
  return writeStored(fs, folder, MANIFEST, { crc: crc32(JSON.stringify(stored)), content: stored })
}

/** Undefined where there is none; in words why it cannot be read. */
export async function readManifest(fs: FileSystem, folder: string): Promise<Manifest | string | undefined> {
  if (!(await fs.list(folder)).includes(MANIFEST)) return undefined
  const file = parsed((await readWhole(fs, join(folder, MANIFEST))).toString('utf8'))
  if (file === undefined) return 'it is not JSON'
  const newer = z.object({ format: z.int().min(FORMAT + 1) }).safeParse(file.content)
  if (newer.success) return `a newer version wrote it, in format ${newer.data.format}`
  if (file.crc !== crc32(JSON.stringify(file.content) ?? '')) return 'its checksum is wrong'
  const content = contentSchema.safeParse(file.content)
  return content.success ? content.data : (content.error.issues[0]?.message ?? 'it is not of its form')
}

function parsed(text: string): { readonly crc?: unknown; readonly content?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return undefined
  }
}
