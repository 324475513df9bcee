// The log's folder as one process takes it: nothing else may be in it, and nobody else may have it. And what the file system says of
// it, as one of our errors.
import { join } from 'node:path'
import { z } from 'zod'
import { fail, isMainstemError, textOf } from '../errors.ts'
import { type FileSystem, type FolderLock, isFull } from './file-system.ts'
import { IDENTITY_FILE } from './identity.ts'
import { parseSealedName } from './sealed/sealed-segment.ts'
import { firstOfName } from './segment.ts'
import { readWhole, writeStored } from './stored-file.ts'

const LOCK_FILE = 'lock'
const OWNER_FILE = 'lock.json'

const ownerSchema = z.object({ pid: z.int() })

/** Takes the folder for this process. @throws DATA_DIR_IN_USE, DATA_DIR_INVALID, LOG_FULL */
export async function takeFolder(fs: FileSystem, folder: string): Promise<FolderLock> {
  try {
    await checkFolder(fs, folder)
    await fs.makeFolder(folder)
    const lock = await fs.lock(join(folder, LOCK_FILE))
    if (!lock)
      throw fail('DATA_DIR_IN_USE', `the data folder ${folder} is in use`, { detail: await ownerText(fs, folder) })
    await writeStored(fs, folder, OWNER_FILE, { pid: process.pid }).catch(async error => {
      // It only names the holder to others: on a full disk the log opens without, and can be read.
      if (isFull(error)) return
      await lock.release()
      throw error
    })
    return lock
  } catch (error) {
    throw folderError(error, folder)
  }
}

/** Refuses a folder with other things in it, before anything is written there. */
async function checkFolder(fs: FileSystem, folder: string): Promise<void> {
  const names = await fs.list(folder)
  if (names.includes(IDENTITY_FILE)) return
  const ours = new Set([LOCK_FILE, OWNER_FILE, `${OWNER_FILE}.tmp`, `${IDENTITY_FILE}.tmp`])
  const foreign = names.find(name => !ours.has(name))
  if (foreign === undefined) return
  const lost = names.some(name => firstOfName(name) !== undefined || parseSealedName(name) !== undefined)
  throw fail('DATA_DIR_INVALID', `${folder} is not the folder of a log`, {
    detail: lost ? `it has segments, but no ${IDENTITY_FILE}` : `it holds ${foreign}, and no ${IDENTITY_FILE}`,
    hint: lost ? `restore ${IDENTITY_FILE} from a backup` : 'give an empty folder, or one that a log was begun in',
  })
}

async function ownerText(fs: FileSystem, folder: string): Promise<string> {
  try {
    const owner = ownerSchema.parse(JSON.parse((await readWhole(fs, join(folder, OWNER_FILE))).toString('utf8')))
    return owner.pid === process.pid
      ? `this process (${owner.pid}) has it open already`
      : `process ${owner.pid} has it open`
  } catch {
    return 'another process has it open'
  }
}

/** What the file system said about the folder, as one of our errors. */
export function folderError(error: unknown, folder: string): Error {
  if (isMainstemError(error)) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (isFull(error))
    return fail('LOG_FULL', `no room in the data folder ${folder}`, { detail: textOf(error), cause: error })
  return fail('DATA_DIR_INVALID', `cannot use the data folder ${folder}`, {
    detail: textOf(error),
    hint:
      code === 'EROFS' || code === 'EACCES' || code === 'EPERM'
        ? 'make it writable for this user, or give another --data-dir'
        : 'give another --data-dir',
    cause: error,
  })
}
