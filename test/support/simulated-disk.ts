// A disk in memory that forgets: what was written is durable after `datasync` of its file, a name after `syncFolder` of its
// folder. It counts operations, can be killed before any of them, can fail any of them, and can crash: then what was not
// made durable is dropped, or torn (each sector of it survives or not, each new name too). A write that fails leaves a part of
// its bytes; a datasync that fails loses what it should have written, and a later one does not bring it back.
import { dirname } from 'node:path'
import type { File, FileSystem, FolderLock, VolumeSpace } from '../../core/index.ts'
import { Random } from './random.ts'

const SECTOR_BYTES = 512

type Operation = 'create' | 'write' | 'datasync' | 'truncate' | 'rename' | 'remove' | 'syncFolder'

interface Inode {
  data: Buffer
  durable: Buffer
  /** What the file was after each operation since the last datasync; each sector of each may have reached the disk. */
  versions: Buffer[]
  /** Sectors that a failed datasync lost: the kernel takes them for written, and no later datasync writes them. */
  readonly lost: Set<number>
}

const inodeOf = (data: Buffer): Inode => ({ data, durable: data, versions: [], lost: new Set() })

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
  /** Files that were opened and not closed. */
  filesOpen = 0
  /** Bytes that all files together may have; a write finds no room beyond. */
  capacityBytes = Number.POSITIVE_INFINITY

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
    const inode = inodeOf(data)
    this.#names.set(path, inode)
    this.#durableNames.set(path, inode)
  }

  get paths(): readonly string[] {
    return [...this.#names.keys()].sort()
  }

  /** The disk as the next process finds it. Without `tear`, nothing that was not durable is left. */
  crash(tear?: Random): SimulatedDisk {
    const after = new SimulatedDisk()
    // None of the names that were not synced, all of them, or each by itself.
    const survive = tear ? tear.pick([0, 1, 0.5]) : 0
    for (const path of new Set([...this.#names.keys(), ...this.#durableNames.keys()])) {
      const inode = (tear && tear.next() < survive ? this.#names : this.#durableNames).get(path)
      // A generator for each file: how long one is may depend on what no seed decides, such as the log's id.
      if (inode) after.plant(path, tear ? torn(inode, new Random(tear.int(2 ** 31))) : inode.durable)
    }
    return after
  }

  /** The disk as the next process finds it when only the process died: all that was written is there, and no more durable. */
  kill(): SimulatedDisk {
    const after = new SimulatedDisk()
    const copies = new Map<Inode, Inode>()
    const copied = (inode: Inode): Inode => {
      const copy = copies.get(inode) ?? { ...inode, versions: [...inode.versions], lost: new Set(inode.lost) }
      copies.set(inode, copy)
      return copy
    }
    for (const [path, inode] of this.#names) after.#names.set(path, copied(inode))
    for (const [path, inode] of this.#durableNames) after.#durableNames.set(path, copied(inode))
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

  /** Bytes of all files but one. */
  #used(but: Inode): number {
    let bytes = 0
    for (const inode of this.#names.values()) if (inode !== but) bytes += inode.data.length
    return bytes
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
      this.#names.set(path, inodeOf(Buffer.alloc(0)))
    }
    const inode = this.#inode(path)
    const step = (operation: Operation) => this.#step(operation, path)
    this.filesOpen++
    return {
      read: async (into, position) => inode.data.copy(into, 0, position),
      write: async (buffers, position) => {
        const bytes = Buffer.concat(buffers)
        try {
          await step('write')
        } catch (error) {
          put(inode, bytes.subarray(0, bytes.length >> 1), position)
          throw error
        }
        const room = Math.max(0, this.capacityBytes - this.#used(inode) - position)
        put(inode, bytes.subarray(0, room), position)
        if (room < bytes.length) throw systemError('ENOSPC')
      },
      datasync: async () => {
        try {
          await step('datasync')
        } catch (error) {
          lose(inode)
          throw error
        }
        inode.durable = inode.lost.size === 0 ? inode.data : written(inode)
        inode.versions = []
      },
      truncate: async bytes => {
        await step('truncate')
        change(inode, inode.data.subarray(0, bytes))
      },
      size: async () => inode.data.length,
      modifiedMs: async () => 0,
      close: async () => {
        this.filesOpen--
      },
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

  async space(): Promise<VolumeSpace> {
    let used = 0
    for (const inode of this.#names.values()) used += inode.data.length
    return { free: Math.max(0, this.capacityBytes - used), total: this.capacityBytes }
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

function change(inode: Inode, data: Buffer): void {
  inode.data = data
  inode.versions.push(data)
}

function put(inode: Inode, bytes: Buffer, position: number): void {
  if (bytes.length === 0) return
  const data = Buffer.alloc(Math.max(inode.data.length, position + bytes.length))
  inode.data.copy(data)
  bytes.copy(data, position)
  for (let n = sectorOf(position); n <= sectorOf(position + bytes.length - 1); n++) inode.lost.delete(n)
  change(inode, data)
}

const sectorOf = (at: number): number => Math.floor(at / SECTOR_BYTES)

const sector = (bytes: Buffer, n: number): Buffer => bytes.subarray(n * SECTOR_BYTES, (n + 1) * SECTOR_BYTES)

/** A datasync failed: what it should have written is nowhere but in the cache, and counts as written. */
function lose(inode: Inode): void {
  for (let n = 0; n * SECTOR_BYTES < inode.data.length; n++)
    if (!sector(inode.data, n).equals(sector(inode.durable, n))) inode.lost.add(n)
}

/** What a datasync leaves on the disk when an earlier one lost some of it. */
function written({ data, durable, lost }: Inode): Buffer {
  const left = Buffer.from(data)
  for (const n of lost) sector(left, n).fill(0)
  for (const n of lost) sector(durable, n).copy(sector(left, n))
  return left
}

/** What is left of a file when the power goes while the kernel writes it out: of each sector, one of its versions. */
function torn({ data, durable, versions }: Inode, random: Random): Buffer {
  const candidates = [durable, data, ...versions]
  const left = Buffer.alloc(random.pick(candidates).length)
  durable.copy(left)
  const whole = random.next()
  const newest = random.next() < 0.5
  for (let n = 0; n * SECTOR_BYTES < left.length; n++) {
    if (random.next() >= whole) continue
    sector(newest ? data : random.pick(candidates), n).copy(sector(left, n))
  }
  return left
}

export function systemError(code: string, message: string = code): Error {
  return Object.assign(new Error(message), { code })
}
