// Small JSON files beside the segments: replaced whole (tmp, fsync, rename, fsync of the folder), so that a reader finds the
// old text or the new one, never a part.
import { join } from 'node:path'
import { fail } from '../errors.ts'
import type { FileSystem } from './file-system.ts'

export async function writeStored(fs: FileSystem, folder: string, name: string, value: unknown): Promise<void> {
  const temporary = join(folder, `${name}.tmp`)
  const file = await fs.open(temporary, 'create')
  try {
    await file.write([Buffer.from(`${JSON.stringify(value, null, 1)}\n`)], 0)
    await file.datasync()
  } finally {
    await file.close()
  }
  await fs.rename(temporary, join(folder, name))
  await fs.syncFolder(folder)
}

/** The file's JSON. @throws LOG_CORRUPT */
export async function readStored(fs: FileSystem, folder: string, name: string): Promise<unknown> {
  const text = (await readWhole(fs, join(folder, name))).toString('utf8')
  try {
    return JSON.parse(text)
  } catch (error) {
    throw fail('LOG_CORRUPT', `${name} of the log cannot be read`, {
      detail: `${join(folder, name)} is not JSON`,
      hint: 'restore the file from a backup',
      cause: error,
    })
  }
}

export async function readWhole(fs: FileSystem, path: string): Promise<Buffer> {
  const file = await fs.open(path, 'read')
  try {
    const bytes = Buffer.allocUnsafeSlow(await file.size())
    return bytes.subarray(0, await file.read(bytes, 0))
  } finally {
    await file.close()
  }
}
