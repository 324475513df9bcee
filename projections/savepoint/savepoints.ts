// The savepoints of an application: made of what a whole checkpoint wrote, one at a time, beside everything else; listed, deleted.
import { join } from 'node:path'
import { asMainstemError, type ErrorReport, type FileSystem, fail, orAborted, reportOf } from '../../core/index.ts'
import { cannotSave } from '../checkpoint/failure.ts'
import type { Checkpoint } from '../checkpoint/manifest.ts'
import { ROW_FILE_NAME } from '../checkpoint/part.ts'
import {
  readSavepoint,
  type SavedView,
  type Savepoint,
  savepointExists,
  savepointFile,
  savepointNames,
  unusable,
  writeSavepoint,
} from './savepoint-file.ts'

/** A savepoint, or what is wrong with its file. */
export type ListedSavepoint = Savepoint | { readonly name: string; readonly error: ErrorReport }

export interface SavepointsStatus {
  readonly running: { readonly name: string; readonly rowsDone: number; readonly rows: number | null } | null
  /** The last one that ended, and why it failed if it did. */
  readonly last: { readonly name: string; readonly error: ErrorReport | null } | null
}

/** What savepoints need of the engine. */
export interface SavepointHost {
  readonly fs: FileSystem
  /** Folder of the savepoints, and that of the checkpoints. */
  readonly folder: string
  readonly checkpoints: string
  readonly logId: string
  readonly schemas: Readonly<Record<string, Pick<SavedView, 'key' | 'fields'>>>
  /** A checkpoint of now, with all rows in files that begin with it. @param atCut called at its cut @throws VIEW_STOPPED where no view goes on */
  checkpoint(atCut?: () => void): Promise<Checkpoint>
}

interface Run {
  readonly name: string
  rowsDone: number
  rows: number | null
}

export class Savepoints {
  readonly #host: SavepointHost
  readonly #abort = new AbortController()
  /** What files that were read say of themselves: they do not change. */
  #known = new Map<string, Savepoint>()
  #running: Run | undefined
  #ended: Promise<unknown> = Promise.resolve()
  #last: SavepointsStatus['last'] = null

  constructor(host: SavepointHost) {
    this.#host = host
  }

  /**
   * Writes a savepoint of now. On return it is on disk, and `mainstem run --from-savepoint` goes back to it.
   * @throws as `start`; VIEW_STOPPED where no view goes on, SHUTTING_DOWN, SAVEPOINT_FAILED, CHECKPOINT_FAILED
   */
  async create(name: string): Promise<Savepoint> {
    return (await this.#begin(name)).made
  }

  /** The same, and does not wait: `status` tells how it goes. @throws SAVEPOINT_NAME_INVALID, SAVEPOINT_EXISTS, OVERLOADED while another one is made, SHUTTING_DOWN */
  async start(name: string): Promise<SavepointsStatus> {
    const { made } = await this.#begin(name)
    made.catch(() => {})
    return this.status()
  }

  async #begin(name: string): Promise<{ readonly made: Promise<Savepoint> }> {
    const file = savepointFile(name)
    const { fs, folder } = this.#host
    if ((await fs.list(folder)).includes(file)) throw savepointExists(name)
    this.#abort.signal.throwIfAborted()
    if (this.#running) throw fail('OVERLOADED', 'a savepoint is being made', { hint: 'wait until it has ended' })
    const run: Run = { name, rowsDone: 0, rows: null }
    this.#running = run
    const made = this.#make(run).catch(error => {
      throw cannotSave(error)
    })
    this.#ended = made.then(
      () => this.#end(name, null),
      error => this.#end(name, reportOf(asMainstemError(error))),
    )
    return { made: this.#ended.then(() => made) }
  }

  async #make(run: Run): Promise<Savepoint> {
    const { fs, folder, logId, schemas, checkpoints: from } = this.#host
    const checkpoint = whole(await this.#checkpoint())
    run.rows = Object.values(checkpoint.views).reduce((sum, { rows }) => sum + rows, 0)
    const { signal } = this.#abort
    const madeAt = new Date().toISOString()
    const onRows = (rows: number) => {
      run.rowsDone += rows
    }
    return writeSavepoint({ fs, folder, name: run.name, madeAt, from, logId, checkpoint, schemas, onRows, signal })
  }

  /** What it publishes may wait for room in the log; a stop does not. */
  #checkpoint(atCut?: () => void): Promise<Checkpoint> {
    return orAborted(this.#host.checkpoint(atCut), this.#abort.signal)
  }

  #end(name: string, error: ErrorReport | null): void {
    this.#running = undefined
    this.#last = { name, error }
  }

  /** One of now for the engine's own use, in a folder of its own, in the place of an earlier one. @param atCut called at its cut @throws as `create` */
  async temporary(folder: string, name: string, atCut: () => void = () => {}): Promise<Savepoint> {
    const { fs, logId, schemas, checkpoints: from } = this.#host
    const { signal } = this.#abort
    try {
      if ((await fs.list(folder)).includes(savepointFile(name))) await fs.remove(join(folder, savepointFile(name)))
      const checkpoint = whole(await this.#checkpoint(atCut))
      const madeAt = new Date().toISOString()
      const onRows = () => {}
      return await writeSavepoint({ fs, folder, name, madeAt, from, logId, checkpoint, schemas, onRows, signal })
    } catch (error) {
      throw cannotSave(error)
    }
  }

  status(): SavepointsStatus {
    return { running: this.#running ? { ...this.#running } : null, last: this.#last }
  }

  async list(): Promise<readonly ListedSavepoint[]> {
    const { fs, folder } = this.#host
    const names = await savepointNames(fs, folder)
    return Promise.all(
      names.map(name =>
        this.get(name).catch(error => ({ name, error: reportOf(asMainstemError(error)) }) satisfies ListedSavepoint),
      ),
    )
  }

  /** Those of this log that can be read. */
  async ofThisLog(): Promise<readonly Savepoint[]> {
    const { fs, folder, logId } = this.#host
    const known = new Map<string, Savepoint>()
    for (const name of await savepointNames(fs, folder)) {
      const savepoint = this.#known.get(name) ?? (await this.get(name).catch(() => undefined))
      if (savepoint?.logId === logId) known.set(name, savepoint)
    }
    this.#known = known
    return [...known.values()]
  }

  /** @throws SAVEPOINT_NAME_INVALID, SAVEPOINT_UNKNOWN, SAVEPOINT_UNUSABLE */
  async get(name: string): Promise<Savepoint> {
    return findSavepoint(this.#host.fs, this.#host.folder, name)
  }

  /** @throws SAVEPOINT_NAME_INVALID, SAVEPOINT_UNKNOWN */
  async remove(name: string): Promise<void> {
    const { fs, folder } = this.#host
    const file = savepointFile(name)
    if (!(await fs.list(folder)).includes(file)) throw unknownSavepoint(name)
    this.#known.delete(name)
    await fs.remove(join(folder, file))
    await fs.syncFolder(folder)
  }

  /** Ends one that is being made, and takes no more. */
  async stop(): Promise<void> {
    this.#abort.abort(fail('SHUTTING_DOWN', 'the application is shutting down'))
    await this.#ended
  }
}

/** The checkpoint without views that have stopped: their rows are in older files. @throws VIEW_STOPPED where all have */
function whole(checkpoint: Checkpoint): Checkpoint {
  const begun = (name: string): boolean => Number(ROW_FILE_NAME.exec(name)?.[1]) === checkpoint.id
  const views = Object.entries(checkpoint.views).filter(([, { files }]) => files.every(({ name }) => begun(name)))
  if (views.length > 0 || Object.keys(checkpoint.views).length === 0)
    return { ...checkpoint, views: Object.fromEntries(views) }
  throw fail('VIEW_STOPPED', 'every view has stopped', { hint: 'GET /v1/views says why' })
}

/** @throws SAVEPOINT_NAME_INVALID, SAVEPOINT_UNKNOWN, SAVEPOINT_UNUSABLE */
export async function findSavepoint(fs: FileSystem, folder: string, name: string): Promise<Savepoint> {
  const file = savepointFile(name)
  if (!(await fs.list(folder)).includes(file)) throw unknownSavepoint(name)
  return readSavepoint(fs, folder, file)
}

/** A savepoint from which a log's views can begin. @throws SAVEPOINT_UNUSABLE */
export function checkUsable(savepoint: Savepoint, log: { readonly id: string; readonly end: number }): void {
  const { path, logId, position } = savepoint
  if (logId !== log.id) throw unusable(path, `it is of log ${logId}, this one is ${log.id}`)
  if (position > log.end) throw unusable(path, `it stands at position ${position}, the log ends at ${log.end}`)
}

const unknownSavepoint = (name: string) => fail('SAVEPOINT_UNKNOWN', `there is no savepoint '${name}'`)
