// The files that the log needs, as a port: tests put a file system under it that tears writes, fails and forgets.
// Durability is explicit: what was written is safe after `datasync` of the file, a name after `syncFolder` of its folder.
import fs from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { WRITE_BYTES_MAX } from './limits.ts'

export interface File {
  /** Reads from `position` until `into` is full or the file ends; the number of bytes read. */
  read(into: Buffer, position: number): Promise<number>
  /** Writes all of the buffers, one after the other, from `position`. */
  write(buffers: readonly Buffer[], position: number): Promise<void>
  datasync(): Promise<void>
  truncate(bytes: number): Promise<void>
  size(): Promise<number>
  /** When its content changed last, milliseconds since 1970. */
  modifiedMs(): Promise<number>
  close(): Promise<void>
}

export interface FolderLock {
  release(): Promise<void>
}

/** Bytes of a volume. */
export interface VolumeSpace {
  /** What this process may still write. */
  readonly free: number
  readonly total: number
}

export interface FileSystem {
  /** Makes the folder and those above it, where missing; their names are durable then. */
  makeFolder(path: string): Promise<void>
  /** Names in the folder; none where there is no folder. */
  list(path: string): Promise<readonly string[]>
  /** read: must exist · write: must exist, reads too · create: reads and writes, empties what exists. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  syncFolder(path: string): Promise<void>
  /** Of the volume that the folder is on. */
  space(folder: string): Promise<VolumeSpace>
  /** Takes a lock that ends with this process, however it ends; undefined where another holder (in this process too) has it. */
  lock(path: string): Promise<FolderLock | undefined>
}

/** True where there was no room: the only failure of a write after which the file is known to be as it was. */
export const isFull = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')

/**
 * Makes a folder and those above it; gives the topmost that was missing. Not by Node's own `recursive`: that never ends
 * where a folder exists in which nothing can be made (`/proc`).
 */
async function makeMissing(path: string): Promise<string | undefined> {
  try {
    await fs.promises.mkdir(path)
    return path
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    if (code === 'EEXIST' && (await fs.promises.stat(path)).isDirectory()) return undefined
    const above = dirname(path)
    if (code !== 'ENOENT' || above === path || fs.existsSync(above)) throw error
    const first = await makeMissing(above)
    await fs.promises.mkdir(path)
    return first ?? path
  }
}

/** Node's own files. Calls run on its thread pool and never block the event loop, but for `lock`. */
export const nodeFileSystem: FileSystem = {
  makeFolder: async path => {
    const first = await makeMissing(resolve(path))
    if (first === undefined) return
    // The name of each new folder is an entry of the one above it.
    for (let made = resolve(path); ; made = dirname(made)) {
      await nodeFileSystem.syncFolder(dirname(made))
      if (made === resolve(first) || made === dirname(made)) break
    }
  },
  list: async path => {
    try {
      return await fs.promises.readdir(path)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
      throw error
    }
  },
  open: async (path, mode) =>
    new NodeFile(await openFile(path, mode === 'read' ? 'r' : mode === 'write' ? 'r+' : 'w+')),
  rename: (from, to) => fs.promises.rename(from, to),
  remove: path => fs.promises.rm(path, { force: true }),
  syncFolder: async path => {
    const folder = await fs.promises.open(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
  space: async folder => {
    const { bavail, blocks, bsize } = await fs.promises.statfs(folder)
    return { free: bavail * bsize, total: blocks * bsize }
  },
  lock: async path => lockFile(path),
}

const openFile = (path: string, flags: string): Promise<number> =>
  new Promise((resolve, reject) => {
    fs.open(path, flags, 0o644, (error, fd) => (error ? reject(error) : resolve(fd)))
  })

/** By file descriptor and callback: a third of the overhead of `FileHandle`, on the path of every append. */
class NodeFile implements File {
  readonly #fd: number

  constructor(fd: number) {
    this.#fd = fd
  }

  async read(into: Buffer, position: number): Promise<number> {
    let at = 0
    while (at < into.length) {
      const read = await this.#readOnce(into, at, position + at)
      if (read === 0) break
      at += read
    }
    return at
  }

  #readOnce(into: Buffer, at: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#fd, into, at, into.length - at, position, (error, read) => (error ? reject(error) : resolve(read)))
    })
  }

  async write(buffers: readonly Buffer[], position: number): Promise<void> {
    let rest = buffers
    let at = position
    while (rest.length > 0) {
      const written = await this.#writeOnce(upTo(rest, WRITE_BYTES_MAX), at)
      at += written
      rest = dropBytes(rest, written)
    }
  }

  #writeOnce(buffers: Buffer[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.writev(this.#fd, buffers, position, (error, written) => (error ? reject(error) : resolve(written)))
    })
  }

  datasync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, error => (error ? reject(error) : resolve()))
    })
  }

  truncate(bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#fd, bytes, error => (error ? reject(error) : resolve()))
    })
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, stats) => (error ? reject(error) : resolve(stats.size)))
    })
  }

  modifiedMs(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, stats) => (error ? reject(error) : resolve(stats.mtimeMs)))
    })
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.close(this.#fd, error => (error ? reject(error) : resolve()))
    })
  }
}

/** The first buffers that stay within `most` bytes; a part of the first one where it alone is larger. */
function upTo(buffers: readonly Buffer[], most: number): Buffer[] {
  const taken: Buffer[] = []
  let bytes = 0
  for (const buffer of buffers) {
    if (bytes + buffer.length > most && taken.length > 0) break
    taken.push(buffer.length > most ? buffer.subarray(0, most) : buffer)
    bytes += buffer.length
  }
  return taken
}

function dropBytes(buffers: readonly Buffer[], bytes: number): readonly Buffer[] {
  let rest = bytes
  let n = 0
  for (; n < buffers.length; n++) {
    const length = buffers[n]?.length ?? 0
    if (rest < length) break
    rest -= length
  }
  const [first, ...others] = buffers.slice(n)
  return first === undefined ? [] : [first.subarray(rest), ...others]
}

/**
 * SQLite's lock on an empty file: the kernel's record lock between processes (it dies with its process, on Linux and macOS,
 * in containers that share a volume too), and SQLite's own table within one process, where record locks do not exclude.
 * Nothing else in the process may open the file: closing it would drop the kernel's lock.
 */
function lockFile(path: string): FolderLock | undefined {
  fs.accessSync(dirname(path), fs.constants.W_OK)
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return undefined
    throw error
  }
  return { release: async () => database.close() }
}

const SQLITE_BUSY = 5
