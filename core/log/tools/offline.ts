// A log's folder, looked at from outside: no lock is taken and nothing is written, so that it can be read while an application
// runs on it. What the log does at its start (recover) runs here over a file system that takes no writes: what it would cut off
// or remove is only passed over. Closed segments do not change, but they may be replaced by sealed ones and go; then the folder
// is looked at anew, and reading goes on where it was.
import { join } from 'node:path'
import type { Contract } from '../../contract/index.ts'
import { fail, isMainstemError } from '../../errors.ts'
import { Leases } from '../base/leases.ts'
import { NO_BASE } from '../base/manifest.ts'
import { type File, type FileSystem, nodeFileSystem } from '../file-system.ts'
import { type LogIdentity, readIdentity } from '../identity.ts'
import type { Log, LogBase, LogBlock } from '../log.ts'
import { Readers } from '../reader.ts'
import { type AnySegment, type Recovered, recover } from '../recovery.ts'
import type { Segment } from '../segment.ts'
import type { SegmentEnd } from '../sidecar.ts'
import { Tail } from '../tail.ts'
import { Topics } from '../topics.ts'

/** How often what changes meanwhile is looked at again. */
const ATTEMPTS_MAX = 8

/** What a start wants to know of a log before it does anything. */
export type LogFacts = Pick<Log, 'id' | 'end' | 'base' | 'findTopic'>

/** Of one that is not there yet. */
export const NO_LOG: LogFacts = { id: '', end: 0, base: NO_BASE, findTopic: () => undefined }

/** A folder as it was at one moment. */
interface Look {
  readonly topics: Topics
  readonly recovered: Recovered
  readonly readers: Readers
  readonly tailBytes: number
}

export class LogFolder {
  readonly path: string
  readonly identity: LogIdentity
  readonly #fs: FileSystem
  #look: Look

  private constructor(fs: FileSystem, path: string, identity: LogIdentity, look: Look) {
    this.#fs = fs
    this.path = path
    this.identity = identity
    this.#look = look
  }

  /**
   * Looks at a log.
   * @param folder the log's own folder, or an application's data folder
   * @throws DATA_DIR_INVALID where there is no log, LOG_CORRUPT, LOG_FORMAT_NEWER
   */
  static async open(folder: string, fileSystem: FileSystem = nodeFileSystem): Promise<LogFolder> {
    const path = await logPath(fileSystem, folder)
    const fs = readOnly(fileSystem)
    const identity = await readIdentity(fs, path)
    return new LogFolder(fs, path, identity, await look(fs, path, identity))
  }

  /** Each layout is a topic entry of its own: rows are as they were written. */
  get topics(): Topics {
    return this.#look.topics
  }

  /** In order; the last one is the one that is appended to. */
  get segments(): readonly AnySegment[] {
    return this.#look.recovered.segments
  }

  /** The one that is appended to, and the state of the log at its end. */
  get active(): { readonly segment: Segment } & SegmentEnd {
    const { active, appendTimeMs, marks } = this.#look.recovered
    return { segment: active, appendTimeMs, marks }
  }

  /** Up to where history was removed. */
  get base(): LogBase {
    return this.#look.recovered.base
  }

  /** Position of the last record of a whole batch. */
  get end(): number {
    return this.#look.recovered.active.last
  }

  /** Bytes after the last whole batch: being written at this moment, or never acknowledged. */
  get tailBytes(): number {
    return this.#look.tailBytes
  }

  get fileSystem(): FileSystem {
    return this.#fs
  }

  /** Looks again: what was appended since is there then. */
  async refresh(): Promise<void> {
    const before = this.#look
    this.#look = await look(this.#fs, this.path, this.identity)
    await forget(before)
  }

  /** Says whether the folder looks different: the text changes when any of its segments does. */
  async fingerprint(): Promise<string> {
    const names = await this.#fs.list(this.path)
    const newest = names
      .filter(name => name.endsWith('.segment'))
      .sort()
      .at(-1)
    if (newest === undefined) return String(names.length)
    return `${newest} ${await sizeOf(this.#fs, join(this.path, newest))}`
  }

  /**
   * Blocks with anything after a position, up to the end as of this look.
   * @throws LOG_CORRUPT, LOG_FAILED where history was removed meanwhile that it had come only halfway through
   */
  async *blocks(after: number): AsyncGenerator<LogBlock> {
    let at = after
    const { generation } = this.base
    // Heartbeats stand between positions: after a new look, those that were given are passed over.
    let heartbeats = 0
    let again = 0
    let left = 0
    let reader = this.#look.readers.read(at)
    try {
      for (;;) {
        const blocks = await reader.ready().catch((error: unknown) => {
          if (!isGone(error)) throw error
          if (++again > ATTEMPTS_MAX) throw gone(this.path, error)
        })
        if (!blocks) {
          reader.close()
          await this.refresh()
          if (this.base.generation !== generation && at < this.base.to) throw cleaned(this.path)
          reader = this.#look.readers.read(at)
          left = heartbeats
          continue
        }
        if (blocks.length === 0) return
        again = 0
        for (const block of blocks) {
          if (block.count > 0) heartbeats = left = 0
          else if (left > 0) {
            left--
            continue
          } else heartbeats++
          at = Math.max(at, block.end)
          yield block
        }
      }
    } finally {
      reader.close()
    }
  }

  /** Does something with the segments; once more, after a new look, where one of them has gone meanwhile. */
  async settled<T>(work: (segments: readonly AnySegment[]) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work(this.segments)
      } catch (error) {
        if (!isGone(error)) throw error
        if (attempt >= ATTEMPTS_MAX) throw gone(this.path, error)
        await this.refresh()
      }
    }
  }

  /**
   * The log as an application with these contracts would find it: its topics are registered here, and nowhere else.
   * @throws CONTRACT_CHANGED, CONTRACT_UPCAST_MISSING
   */
  async registering(contracts: readonly Contract[]): Promise<LogFacts> {
    const topics = await Topics.open(this.#fs, this.path)
    for (const contract of contracts) await topics.register(contract)
    return { id: this.identity.id, end: this.end, base: this.base, findTopic: name => topics.find(name) }
  }

  close(): Promise<void> {
    return forget(this.#look)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** The folder of a log: `folder` itself, or its `log`. @throws DATA_DIR_INVALID where neither is one */
export async function logPath(fs: FileSystem, folder: string): Promise<string> {
  for (const path of [join(folder, 'log'), folder]) if ((await namesIn(fs, path)).includes('log.json')) return path
  throw fail('DATA_DIR_INVALID', `there is no log in ${folder}`, {
    detail: 'neither it nor its folder log/ has a log.json',
    hint: 'give what `mainstem run` has as its --data-dir (default: .mainstem/<application>)',
  })
}

/** None where it is no folder. */
async function namesIn(fs: FileSystem, path: string): Promise<readonly string[]> {
  try {
    return await fs.list(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOTDIR') return []
    throw error
  }
}

async function sizeOf(fs: FileSystem, path: string): Promise<number> {
  try {
    const file = await fs.open(path, 'read')
    return await file.size().finally(() => file.close())
  } catch (error) {
    if (isGone(error)) return 0
    throw error
  }
}

async function look(fs: FileSystem, folder: string, identity: LogIdentity): Promise<Look> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await lookOnce(fs, folder, identity)
    } catch (error) {
      // A file that goes while it is looked at may look damaged, or be missing: damage is there the next time too.
      if (!isGone(error) && !(isMainstemError(error) && error.code === 'LOG_CORRUPT' && attempt < 3)) throw error
      if (attempt >= ATTEMPTS_MAX) throw error
    }
  }
}

async function lookOnce(fs: FileSystem, folder: string, identity: LogIdentity): Promise<Look> {
  let tailBytes = 0
  const onEvent: Parameters<typeof recover>[0]['onEvent'] = event => {
    if (event.event === 'log-tail-cut') tailBytes = event.bytes
  }
  const recovered = await recover({ fs, folder, identity, onEvent })
  try {
    // After the segments: the layouts of their records were stored before them.
    const topics = await Topics.open(fs, folder, true)
    const leases = new Leases(recovered.segments, recovered.base.generation, () => {})
    const readers = new Readers({ fs, topics, tail: new Tail(), leases })
    return { topics, recovered, readers, tailBytes }
  } catch (error) {
    await recovered.files.close()
    throw error
  }
}

async function forget({ readers, recovered }: Look): Promise<void> {
  await readers.close()
  await recovered.files.close()
}

const gone = (path: string, cause: unknown) =>
  fail('LOG_FAILED', `the files of ${path} go while they are read`, { hint: 'try again', cause })

export const cleaned = (path: string) =>
  fail('LOG_FAILED', `the log in ${path} was cleaned while it was read`, { hint: 'try again' })

/** True where the file system says that there is no such file, however it is wrapped. */
export function isGone(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && error.code === 'ENOENT') || isGone(error.cause)
}

const nothing = async (): Promise<void> => {}

/** The same files; what would change them does nothing. */
export const readOnly = (fs: FileSystem): FileSystem => ({
  list: path => fs.list(path),
  open: async (path, mode) => (mode === 'create' ? EMPTY : readOnlyFile(await fs.open(path, 'read'))),
  makeFolder: nothing,
  rename: nothing,
  remove: nothing,
  syncFolder: nothing,
  lock: async () => ({ release: nothing }),
  space: path => fs.space(path),
})

const readOnlyFile = (file: File): File => ({
  read: (into, position) => file.read(into, position),
  size: () => file.size(),
  modifiedMs: () => file.modifiedMs(),
  close: () => file.close(),
  write: nothing,
  datasync: nothing,
  truncate: nothing,
})

const EMPTY: File = {
  read: async () => 0,
  size: async () => 0,
  modifiedMs: async () => 0,
  close: nothing,
  write: nothing,
  datasync: nothing,
  truncate: nothing,
}
