// A disk in memory that forgets: what was written is durable after `datasync` of its file, a name after `syncFolder` of its
// folder. It counts operations, can be killed before any of them, can fail any of them, and can crash: then what was not
// made durable is dropped, or torn (each sector of it survives or not).
import { dirname } from 'node:path'
import type { File, FileSystem, FolderLock } from '../../core/index.ts'
import type { Random } from './random.ts'

const SECTOR_BYTES = 512

type Operation = 'create' | 'write' | 'datasync' | 'truncate' | 'rename' | 'remove' | 'syncFolder'

interface Inode {
  data: Buffer
  durable: Buffer
}

export class SimulatedDisk implements FileSystem {
  readonly #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  readonly #locks = new Set<string>()
  #dead = false
  readonly #died = Promise.withResolvers<void>()
  /** Mutating operations so far. */
  operations = 0
  /** The process dies instead of doing the operation of this number. */
  killAt = Number.POSITIVE_INFINITY
  /** Gives the error with which an operation fails. */
  fault: (operation: Operation, path: string) => Error | undefined = () => undefined
  readonly trace: string[] = []

  /** Resolves when the disk was killed. */
  get died(): Promise<void> {
    return this.#died.promise
  }

  /** The bytes of a file that a crash could not take. */
  durable(path: string): Buffer {
    return this.#durableNames.get(path)?.durable ?? Buffer.alloc(0)
  }

  bytes(path: string): Buffer {
    return this.#inode(path).data
  }

  /** Puts bytes on the disk, durable. */
  plant(path: string, data: Buffer): void {
    const inode = { data, durable: data }
    this.#names.set(path, inode)
    this.#durableNames.set(path, inode)
  }

  get paths(): readonly string[] {
    return [...this.#names.keys()].sort()
  }

  /** The disk as the next process finds it. Without `tear`, nothing that was not durable is left. */
  crash(tear?: Random): SimulatedDisk {
    const after = new SimulatedDisk()
    const folders = new Map<string, boolean>()
    for (const path of new Set([...this.#names.keys(), ...this.#durableNames.keys()])) {
      const folder = dirname(path)
      if (!folders.has(folder)) folders.set(folder, tear !== undefined && tear.next() < 0.5)
      const inode = (folders.get(folder) ? this.#names : this.#durableNames).get(path)
      if (inode) after.plant(path, tear ? torn(inode, tear) : inode.durable)
    }
    return after
  }

  /** A copy of the disk as it stands, written or durable. */
  copy(): SimulatedDisk {
    const copy = new SimulatedDisk()
    for (const [path, inode] of this.#names) copy.plant(path, inode.data)
    return copy
  }

  async #step(operation: Operation, path: string): Promise<void> {
    if (this.#dead || this.operations >= this.killAt) {
      this.#dead = true
      this.#died.resolve()
      await new Promise<never>(() => {})
    }
    this.operations++
    this.trace.push(`${operation} ${path}`)
    await null
    const error = this.fault(operation, path)
    if (error) throw error
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path)
    if (!inode) throw systemError('ENOENT', `no such file: ${path}`)
    return inode
  }

  async makeFolder(): Promise<void> {}

  async list(path: string): Promise<readonly string[]> {
    return [...this.#names.keys()].filter(name => dirname(name) === path).map(name => name.slice(path.length + 1))
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    if (mode === 'create') {
      await this.#step('create', path)
      this.#names.set(path, { data: Buffer.alloc(0), durable: Buffer.alloc(0) })
    }
    const inode = this.#inode(path)
    const step = (operation: Operation) => this.#step(operation, path)
    return {
      read: async (into, position) => inode.data.copy(into, 0, position),
      write: async (buffers, position) => {
        await step('write')
        const bytes = Buffer.concat(buffers)
        const data = Buffer.alloc(Math.max(inode.data.length, position + bytes.length))
        inode.data.copy(data)
        bytes.copy(data, position)
        inode.data = data
      },
      datasync: async () => {
        await step('datasync')
        inode.durable = inode.data
      },
      truncate: async bytes => {
        await step('truncate')
        inode.data = inode.data.subarray(0, bytes)
      },
      size: async () => inode.data.length,
      close: async () => {},
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#step('rename', to)
    this.#names.set(to, this.#inode(from))
    this.#names.delete(from)
  }

  async remove(path: string): Promise<void> {
    await this.#step('remove', path)
    this.#names.delete(path)
  }

  async syncFolder(path: string): Promise<void> {
    await this.#step('syncFolder', path)
    const kept = [...this.#durableNames].filter(([name]) => dirname(name) !== path)
    this.#durableNames = new Map([...kept, ...[...this.#names].filter(([name]) => dirname(name) === path)])
  }

  async lock(path: string): Promise<FolderLock | undefined> {
    if (this.#locks.has(path)) return undefined
    this.#locks.add(path)
    return {
      release: async () => {
        this.#locks.delete(path)
      },
    }
  }
}

/** What is left of a file when the power goes while the kernel writes it out: some of the sectors that changed. */
function torn({ data, durable }: Inode, random: Random): Buffer {
  const length = random.next() < 0.5 ? data.length : durable.length
  const left = Buffer.alloc(length)
  durable.copy(left)
  const whole = random.next()
  for (let at = 0; at < length; at += SECTOR_BYTES) {
    const end = Math.min(at + SECTOR_BYTES, length, data.length)
    if (end > at && random.next() < whole) data.copy(left, at, at, end)
  }
  return left
}

export function systemError(code: string, message: string = code): Error {
  return Object.assign(new Error(message), { code })
}
