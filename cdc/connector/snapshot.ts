// A snapshot that stands still: all tables as they were at one position, read over a few connections at once. How far each is read
// stands in the log, so that after a kill the rest is read while changes are streamed (live-snapshot.ts).
import type { Log, Mirror } from '../../core/index.ts'
import type { Control } from './control.ts'
import { untilRoom } from './log-room.ts'
import { Pipeline } from './pipeline.ts'
import type { Progress } from './progress.ts'
import { TableCopy } from './table-copy.ts'
import type { CheckedTable, ChunkReader, Snapshot, Technology } from './technology.ts'

/** Rows are decoded on one thread: more connections only help where the network is slow. */
const READERS_MAX = 3

export interface SnapshotOptions<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly mirror: Mirror
  readonly control: Control
  readonly tables: readonly CheckedTable[]
  readonly snapshot: Snapshot<P>
  /** The mirror is empty. */
  readonly first: boolean
  readonly progress: Progress
  readonly onPaused: (paused: boolean) => void
  /** Ends it where it is; what was read is kept. */
  readonly interrupted: AbortSignal
  readonly signal: AbortSignal
}

export class SnapshotReader<P> {
  readonly #options: SnapshotOptions<P>
  readonly #pipeline: Pipeline<P>
  readonly #readers: ChunkReader[] = []
  readonly #failed = new AbortController()
  #error: unknown

  constructor(options: SnapshotOptions<P>) {
    this.#options = options
    this.#pipeline = new Pipeline({
      positions: options.technology.positions,
      logged: options.snapshot.position,
      position: options.log.end,
      onDurable: () => {},
      onError: error => this.#onError(error),
    })
  }

  readonly #onError = (error: unknown): void => {
    this.#error ??= error
    this.#failed.abort()
    this.#end()
  }

  /** A reading that is paused would never end. */
  readonly #end = (): void => {
    for (const reader of this.#readers) reader.destroy()
  }

  /** Reads all tables. Resolves when what was read is durable and mirrored; false where it was interrupted. */
  async read(): Promise<boolean> {
    const { signal, interrupted, mirror } = this.#options
    signal.addEventListener('abort', this.#end, { once: true })
    interrupted.addEventListener('abort', this.#end, { once: true })
    try {
      await this.#readAll()
    } catch (error) {
      await this.#pipeline.settled()
      throw this.#error ?? error
    } finally {
      signal.removeEventListener('abort', this.#end)
      interrupted.removeEventListener('abort', this.#end)
      for (const reader of this.#readers) reader.close()
    }
    await mirror.commit(this.#pipeline.position)
    return !interrupted.aborted
  }

  async #readAll(): Promise<void> {
    const { tables, first } = this.#options
    const plain = first ? tables.filter(table => table.isKeyUnique) : []
    await this.#readOver(Math.min(plain.length, READERS_MAX), plain)
    // What is looked up is in the mirror before it is in the log: only one at a time can commit it.
    await this.#readOver(
      1,
      tables.filter(table => !plain.includes(table)),
    )
  }

  async #readOver(readers: number, tables: readonly CheckedTable[]): Promise<void> {
    const queue = [...tables]
    const work = async () => {
      let reader: ChunkReader | undefined
      for (let table = queue.shift(); table; table = queue.shift()) {
        if (this.#options.interrupted.aborted) return
        reader ??= await this.#openReader()
        await this.#readTable(reader, table)
      }
    }
    const done = await Promise.allSettled(
      Array.from({ length: readers }, () =>
        work().catch(error => {
          this.#onError(error)
          throw error
        }),
      ),
    )
    const failed = done.find(each => each.status === 'rejected')
    if (failed) throw this.#error ?? failed.reason
  }

  async #openReader(): Promise<ChunkReader> {
    const reader = await this.#options.snapshot.openReader()
    this.#readers.push(reader)
    if (this.#failed.signal.aborted || this.#options.signal.aborted) reader.destroy()
    return reader
  }

  async #readTable(reader: ChunkReader, table: CheckedTable): Promise<void> {
    const { technology, log, mirror, control, first, snapshot, progress, interrupted } = this.#options
    const copy = new TableCopy({
      technology,
      log,
      mirror,
      control,
      pipeline: this.#pipeline,
      table,
      position: snapshot.position,
      lookUp: !first || !table.isKeyUnique,
      sweep: !first,
      untilRoom: () => this.#untilRoom(),
      onError: this.#onError,
      checkFailed: () => {
        if (this.#error) throw this.#error
      },
      onRows: rows => progress.add(table, rows),
    })
    try {
      await copy.run(reader)
      progress.finish(table)
    } catch (error) {
      if (!interrupted.aborted || this.#error) throw error
      await copy.stop()
    }
  }

  #untilRoom(): Promise<void> {
    const { log, onPaused, signal } = this.#options
    return untilRoom(log, onPaused, AbortSignal.any([signal, this.#failed.signal]))
  }
}
