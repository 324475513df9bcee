// The sealed files that are open, bounded in number. A file may be removed by name while it is read here.
import type { File, FileSystem } from '../file-system.ts'
import { closedError } from '../writer.ts'
import { SEALED_FILES_OPEN_MAX } from './bounds.ts'

interface Opened {
  readonly file: Promise<File>
  users: number
  dropped: boolean
}

export class SealedFiles {
  readonly #fs: FileSystem
  /** Least recently used first. */
  readonly #open = new Map<string, Opened>()
  #closed = false

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  async use<T>(path: string, use: (file: File) => Promise<T>): Promise<T> {
    if (this.#closed) throw closedError()
    const opened = this.#open.get(path) ?? { file: this.#fs.open(path, 'read'), users: 0, dropped: false }
    this.#open.delete(path)
    this.#open.set(path, opened)
    opened.users++
    this.#trim()
    try {
      return await use(await opened.file)
    } catch (error) {
      // What failed once is opened anew.
      this.drop(path, opened)
      throw error
    } finally {
      opened.users--
      if (opened.dropped && opened.users === 0) await closeQuietly(opened)
    }
  }

  /** Forgets a file; it is closed when none uses it. */
  drop(path: string, known = this.#open.get(path)): void {
    if (!known || known.dropped) return
    known.dropped = true
    if (this.#open.get(path) === known) this.#open.delete(path)
    if (known.users === 0) void closeQuietly(known)
  }

  #trim(): void {
    for (const [path, opened] of this.#open) {
      if (this.#open.size <= SEALED_FILES_OPEN_MAX) return
      if (opened.users === 0) this.drop(path, opened)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    const all = [...this.#open.values()]
    this.#open.clear()
    for (const opened of all) opened.dropped = true
    await Promise.all(all.filter(opened => opened.users === 0).map(closeQuietly))
  }
}

const closeQuietly = (opened: Opened): Promise<void> => opened.file.then(file => file.close()).catch(() => {})
