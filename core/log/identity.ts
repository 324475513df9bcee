// log.json: which log a folder is, the newest form of any file in it, and its newest segment. A version that does not know that
// form says so at once, instead of missing the files that it does not know; and where the newest segment's file is gone, records
// may be gone with it, even if nothing else remembers them.
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { fail } from '../errors.ts'
import { FORMAT } from './block.ts'
import type { FileSystem } from './file-system.ts'
import { readStored, writeStored } from './stored-file.ts'

export const IDENTITY_FILE = 'log.json'

/** The newest form that this version writes: 1 without sealed segments, 2 and 3 theirs (docs/log-format.md). */
export const LOG_FORMAT = 3

export interface LogIdentity {
  readonly id: string
  readonly epoch: number
  /** What the folder's log.json says. */
  format: number
  /** First position of a segment that was there: it, or a later one, still is. Absent in folders of earlier versions. */
  newest?: number
}

const identitySchema = z.object({
  format: z.int(),
  id: z.uuid(),
  epoch: z.int(),
  newest: z.int().positive().exactOptional(),
})
const formatSchema = z.object({ format: z.int() })

/** @throws LOG_FORMAT_NEWER, DATA_DIR_INVALID, LOG_CORRUPT */
export async function readIdentity(fs: FileSystem, folder: string): Promise<LogIdentity> {
  if (!(await fs.list(folder)).includes(IDENTITY_FILE)) {
    const identity = { format: FORMAT, id: randomUUID(), epoch: 1 }
    await writeStored(fs, folder, IDENTITY_FILE, identity)
    return identity
  }
  const stored = await readStored(fs, folder, IDENTITY_FILE)
  const format = formatSchema.safeParse(stored)
  if (format.success && format.data.format > LOG_FORMAT) {
    throw fail('LOG_FORMAT_NEWER', 'the log was written by a newer version', {
      detail: `${join(folder, IDENTITY_FILE)} has format ${format.data.format}`,
    })
  }
  const parsed = identitySchema.safeParse(stored)
  if (parsed.success) return parsed.data
  throw fail('DATA_DIR_INVALID', `${folder} is not the folder of a log`, {
    detail: `${IDENTITY_FILE}: ${parsed.error.issues[0]?.message}`,
    hint: `give the folder of a log, or restore ${IDENTITY_FILE} from a backup`,
  })
}

interface Identified {
  readonly fs: FileSystem
  readonly folder: string
  readonly identity: LogIdentity
}

/** Says, durably, that the folder has files of the newest form: done before the first of them gets its name. */
export async function raiseFormat({ fs, folder, identity }: Identified): Promise<void> {
  if (identity.format >= LOG_FORMAT) return
  await change({ fs, folder, identity }, { format: LOG_FORMAT })
}

/**
 * Writes down that a segment is there, before anything is appended to it. Where that fails the log goes on: a later loss of the
 * file then shows by its sidecars only.
 */
export async function noteNewest({ fs, folder, identity }: Identified, newest: number): Promise<void> {
  if (identity.newest === newest) return
  await change({ fs, folder, identity }, { newest }).catch(() => {})
}

/** The last change of each identity: the writer and the sealer have something to say, one after the other. */
const changing = new WeakMap<LogIdentity, Promise<void>>()

function change(
  { fs, folder, identity }: Identified,
  changed: { readonly format?: number; readonly newest?: number },
): Promise<void> {
  const before = changing.get(identity) ?? Promise.resolve()
  const done = before
    .catch(() => {})
    .then(async () => {
      await writeStored(fs, folder, IDENTITY_FILE, { ...identity, ...changed })
      Object.assign(identity, changed)
    })
  changing.set(identity, done)
  return done
}
