// The folder of checkpoints, in the coordinator's thread: which can be restored, which file of rows comes next, and the exchange
// of the manifest by which a new one counts. A chain of files begins with all rows; when what changed since outweighs them, the
// next checkpoint begins a new one. So a row that changes is written 1.4 times in the long run, however few change at a time,
// and nothing is ever merged: rows come from memory, where they are, and not from files that would have to be read again.
import { join } from 'node:path'
import type { FileSystem, MainstemError } from '../../core/index.ts'
import {
  type Checkpoint,
  MANIFEST,
  type Manifest,
  readManifest,
  type ViewCheckpoint,
  writeManifest,
} from './manifest.ts'
import { type PartReport, type PartRequest, ROW_FILE_NAME } from './part.ts'
import { corrupt } from './row-file-reader.ts'
import { addHashes } from './row-hash.ts'

const KEPT_DEFAULT = 3
/** A chain ends when what was appended to it is so many times what it began with. */
const GROWTH_MAX = 2.5
const APPENDED_BYTES_MIN = 1024 * 1024
/** Files of the checkpoints of earlier versions, in LMDB. */
const EARLIER_FILES = ['data.mdb', 'lock.mdb']

export interface CheckpointStoreOptions {
  readonly fs: FileSystem
  /** The folder; made where it is missing. */
  readonly path: string
  readonly logId: string
  /** Checkpoints that can be restored, at least 1. Default 3. */
  readonly kept?: number
  /** Bytes by which a chain may grow whatever it began with, so that small states need not be written anew all the time. Default 1 MiB. */
  readonly appendedBytesMin?: number
}

/** What a view is, beside its rows. */
export type ViewFactsSaved = Pick<ViewCheckpoint, 'generation' | 'fingerprint' | 'facts' | 'continued'>

export interface Commit {
  readonly request: PartRequest
  readonly position: number
  readonly parts: readonly PartReport[]
  readonly complete: readonly string[]
  /** By view; those that no part has rows of stay what they were in the last checkpoint. */
  readonly views: Readonly<Record<string, ViewFactsSaved>>
}

const DAMAGED = 'its checkpoint is damaged'

/** Opens the folder and removes what no checkpoint needs. */
export async function openCheckpointStore(options: CheckpointStoreOptions): Promise<CheckpointStore> {
  const { fs, path } = options
  await fs.makeFolder(path)
  const found = await readManifest(fs, path)
  const names = await fs.list(path)
  const earlier = EARLIER_FILES.some(name => names.includes(name))
  const store = new CheckpointStore(options, found, earlier)
  // Where the manifest is of no use, files stay until there is another one.
  if (store.kept.length > 0) await store.clean()
  return store
}

export class CheckpointStore {
  readonly fs: FileSystem
  readonly path: string
  readonly logId: string
  readonly #keptMax: number
  readonly #appendedBytesMin: number
  #kept: readonly Checkpoint[]
  #nextId: number
  /** The one that parts append to; undefined where the next checkpoint begins one. */
  #chain: Checkpoint['chain'] | undefined
  #earlier: boolean
  /** The log of which the manifest is; undefined where there is none. */
  readonly foundLogId: string | undefined
  #fault: string | undefined
  /** What is wrong with the manifest. */
  readonly damage: MainstemError | undefined
  /** By what the next start estimates; null until measured. */
  recordsPerSecond: number | null

  constructor(options: CheckpointStoreOptions, found: Manifest | string | undefined, earlier: boolean) {
    const { fs, path, logId, kept = KEPT_DEFAULT, appendedBytesMin = APPENDED_BYTES_MIN } = options
    this.fs = fs
    this.path = path
    this.logId = logId
    this.#keptMax = kept
    this.#appendedBytesMin = appendedBytesMin
    const manifest = typeof found === 'object' ? found : undefined
    if (typeof found === 'string') this.damage = corrupt(join(path, MANIFEST), found)
    this.foundLogId = manifest?.logId
    this.#kept = manifest?.logId === logId ? manifest.checkpoints : []
    this.#nextId = 1 + Math.max(0, ...(manifest?.checkpoints ?? []).map(({ id }) => id))
    this.recordsPerSecond = manifest?.recordsPerSecond ?? null
    this.#earlier = earlier
    if (this.damage) this.#fault = DAMAGED
    else if (earlier && manifest === undefined) this.#fault = 'an earlier version wrote its checkpoint, in another form'
  }

  /** Checkpoints that can be restored, newest first. */
  get kept(): readonly Checkpoint[] {
    return this.#kept
  }

  get latest(): Checkpoint | undefined {
    return this.#kept[0]
  }

  /** Why there is none although there are files; undefined where nothing is wrong. */
  get fault(): string | undefined {
    return this.latest ? undefined : this.#fault
  }

  /** Takes a checkpoint out of those that can be restored: a file of it is damaged. The manifest says so with the next commit. */
  discard(checkpoint: Checkpoint): void {
    this.#kept = this.#kept.filter(each => each !== checkpoint)
    this.#fault = DAMAGED
    this.#chain = undefined
  }

  /** Forgets what is older than the state that was put in its place. */
  forget(): void {
    this.#kept = []
    this.#chain = undefined
  }

  /** To be called where parts go on with the files of the newest checkpoint; otherwise the next one is whole. */
  resume(): void {
    this.#chain = this.latest?.chain
  }

  /** What parts are to write next. */
  request(): PartRequest {
    const chain = this.#chain
    const full = chain === undefined || chain.appended >= Math.max(this.#appendedBytesMin, chain.base * GROWTH_MAX)
    return { id: this.#nextId++, full }
  }

  /** Parts could not write what they were asked for: the next checkpoint is of all rows, in new files. */
  failed(): void {
    this.#chain = undefined
  }

  /** Makes a checkpoint of what parts wrote. On return it is what a restart finds. @throws what the disk threw; then `failed` */
  async commit({ request, position, parts, complete, views }: Commit): Promise<Checkpoint> {
    const { id, full } = request
    const saved = this.#viewsOf(parts, views)
    const written = parts.reduce((sum, part) => sum + part.written, 0)
    const before = this.#chain
    const chain =
      full || !before ? { id, base: written, appended: 0 } : { ...before, appended: before.appended + written }
    const checkpoint = { id, position, chain, complete: [...complete], views: saved }
    // The name of a new file must be there before it is named.
    if (full) await this.fs.syncFolder(this.path)
    await this.#write(this.#keeping(checkpoint))
    this.#chain = chain
    await this.clean().catch(() => {})
    return checkpoint
  }

  #viewsOf(parts: readonly PartReport[], views: Commit['views']): Record<string, ViewCheckpoint> {
    const before = this.latest?.views ?? {}
    const saved: Record<string, ViewCheckpoint> = {}
    for (const [name, facts] of Object.entries(views)) {
      const whole = parts.flatMap(part => {
        const ofView = part.views[name]
        return ofView?.error === null ? [ofView] : []
      })
      const [first] = whole
      // A view that has stopped, in one part at least, stays where its rows were last written.
      if (first !== undefined && whole.length === parts.length) {
        const files = parts.map(part => part.file)
        saved[name] = { ...facts, position: first.position, ...addHashes(whole), files }
      } else if (before[name]) saved[name] = before[name]
    }
    return saved
  }

  /** Says of the newest checkpoint's views what they are from now on; its rows stay. */
  async restate(views: Readonly<Record<string, ViewFactsSaved>>): Promise<void> {
    const { latest } = this
    if (latest === undefined) return
    const saved = Object.entries(latest.views).map(([name, view]) => [name, { ...view, ...views[name] }] as const)
    await this.#write([{ ...latest, views: Object.fromEntries(saved) }, ...this.#kept.slice(1)])
  }

  /** The newest ones; the last of them is of another chain where there is one, since a damaged file damages all of a chain. */
  #keeping(checkpoint: Checkpoint): readonly Checkpoint[] {
    const all = [checkpoint, ...this.#kept]
    if (all.length <= this.#keptMax) return all
    const kept = all.slice(0, this.#keptMax)
    const other = all.find(({ chain }) => chain.id !== checkpoint.chain.id)
    if (this.#keptMax > 1 && other !== undefined && !kept.includes(other)) kept[kept.length - 1] = other
    return kept
  }

  async #write(checkpoints: readonly Checkpoint[]): Promise<void> {
    const { fs, path, logId, recordsPerSecond } = this
    await writeManifest(fs, path, { logId, recordsPerSecond, checkpoints: [...checkpoints] })
    this.#kept = checkpoints
  }

  /** Removes files that no checkpoint needs: what a crash left, what was replaced, and those of earlier versions. */
  async clean(): Promise<void> {
    const needed = new Set(
      this.#kept.flatMap(({ views }) => Object.values(views).flatMap(view => view.files.map(file => file.name))),
    )
    for (const name of await this.fs.list(this.path)) {
      const left = ROW_FILE_NAME.test(name) ? !needed.has(name) : name === `${MANIFEST}.tmp`
      const earlier = this.#earlier && this.#kept.length > 0 && EARLIER_FILES.includes(name)
      if (left || earlier) await this.fs.remove(join(this.path, name))
    }
  }
}
