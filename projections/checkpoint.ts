// Checkpoints: the rows changed since the last one, with each view's position and the fingerprint, in one transaction of
// the table store. Reading them back gives exactly the state at those positions; what came later is folded again from the log.
import {
  asMainstemError,
  ByteReader,
  ByteWriter,
  isMainstemError,
  type Log,
  type MainstemError,
  type TableStore,
} from '../core/index.ts'
import type { FoldedView } from './view.ts'

const META = 'checkpoint'

interface CheckpointMeta {
  readonly logId: string
  readonly fingerprint: string
  /** View → the position it stands at. */
  readonly positions: Readonly<Record<string, number>>
  /** View → generation of the log's base from which it was folded; the first versions wrote none. */
  readonly generations?: Readonly<Record<string, number>>
  /** Sources whose snapshot was complete. */
  readonly complete: readonly string[]
}

/** Rows read between two yields while nothing else runs. */
const ROWS_PER_LOAD_SLICE = 2_000

/** One view's rows on their way into a checkpoint. */
interface Saving {
  readonly view: FoldedView
  readonly position: number
  readonly generation: number
  error: MainstemError | undefined
}

export class Checkpoints {
  readonly #store: TableStore
  readonly #log: Log
  readonly #fingerprint: string
  readonly #sliceMs: number
  readonly #writer = new ByteWriter()
  /** View → the position at which its rows were last written. */
  #positions: Record<string, number> = {}
  #generations: Record<string, number> = {}

  /** @param sliceMs longest run without a yield to the event loop */
  constructor(store: TableStore, log: Log, fingerprint: string, sliceMs: number) {
    this.#store = store
    this.#sliceMs = sliceMs
    this.#log = log
    this.#fingerprint = fingerprint
  }

  /** Loads the views' rows and positions; empties what was made by other code or from another log. Returns what was loaded. */
  async load(
    views: readonly FoldedView[],
  ): Promise<{ readonly rebuild: boolean; readonly complete: readonly string[] }> {
    const meta = this.#store.meta(META) as CheckpointMeta | undefined
    const { id, base } = this.#log
    const usable = meta !== undefined && meta.logId === id && meta.fingerprint === this.#fingerprint
    let rebuild = meta !== undefined && !usable
    for (const view of views) {
      const position = usable ? meta.positions[view.name] : undefined
      const generation = meta?.generations?.[view.name] ?? 0
      // Below what was changed it is good only for the base that it was folded from.
      if (position === undefined || (position < base.changedTo && generation !== base.generation)) {
        if (position !== undefined) rebuild = true
        await this.#store.clear(view.name)
        continue
      }
      try {
        await this.#loadView(view, position)
      } catch (error) {
        // What is on disk stays: with more memory the next start goes on from it.
        if (!isMainstemError(error) || error.code !== 'STATE_TOO_LARGE') throw error
        view.stop(error)
      }
      this.#positions[view.name] = position
      this.#generations[view.name] = generation
    }
    return { rebuild, complete: usable ? meta.complete : [] }
  }

  /** Where a view's rows were last written. */
  position(view: FoldedView): number | undefined {
    return this.#positions[view.name]
  }

  async #loadView(view: FoldedView, position: number): Promise<void> {
    view.position = position
    let loaded = 0
    for (const [keyBytes, value] of this.#store.entries(view.name)) {
      const reader = new ByteReader(value)
      const support = reader.varint()
      view.restore(Buffer.from(keyBytes), support, view.codec.decode(reader))
      if (++loaded % ROWS_PER_LOAD_SLICE === 0) await yieldToEventLoop()
    }
  }

  /**
   * Writes what has changed, as of this call: the caller is at a cut. Folding goes on meanwhile: a row that is about to
   * change is written first (copy on write), the others between other work. Resolves when all of it is on disk.
   * @param generation of the log's base from which they were folded
   * @throws LOG_FULL, LOG_FAILED: the next one writes what this one could not
   */
  async write(views: readonly FoldedView[], complete: readonly string[], generation: number): Promise<void> {
    const savings = views.filter(view => !view.error).map(view => this.#begin(view, generation))
    for (const saving of savings) await this.#finish(saving)
    // A view that has stopped stays at the position at which its rows were last written.
    const meta: CheckpointMeta = {
      logId: this.#log.id,
      fingerprint: this.#fingerprint,
      positions: { ...this.#positions },
      generations: { ...this.#generations },
      complete,
    }
    this.#store.setMeta(META, meta)
    await this.#store.commit()
  }

  #begin(view: FoldedView, generation: number): Saving {
    const saving: Saving = { view, position: view.position, generation, error: undefined }
    view.changes.begin(row => this.#save(saving, row))
    return saving
  }

  #save(saving: Saving, row: number): void {
    const { view } = saving
    const { table } = view
    try {
      const key = table.keys.bytesOf(table.idOf(row))
      const support = table.support(row)
      if (support <= 0) this.#store.remove(view.name, key)
      else this.#store.put(view.name, key, this.#encode(view, support, table.toStored(row)))
    } catch (error) {
      saving.error ??= asMainstemError(error, 'STATE_INVALID', `a row of '${view.name}' cannot be stored`)
    }
  }

  async #finish(saving: Saving): Promise<void> {
    const { view } = saving
    let sliceEndMs = performance.now() + this.#sliceMs
    while (view.changes.step()) {
      if (performance.now() < sliceEndMs) continue
      await yieldToEventLoop()
      sliceEndMs = performance.now() + this.#sliceMs
    }
    if (saving.error === undefined) {
      this.#positions[view.name] = saving.position
      this.#generations[view.name] = saving.generation
      return
    }
    // A nested value that is not of its type shows only here. Some rows are written, others not: the view has no
    // checkpoint any more, and a restart folds it from the beginning.
    delete this.#positions[view.name]
    view.stop(saving.error)
  }

  #encode(view: FoldedView, support: number, state: Record<string, unknown>): Buffer {
    const writer = this.#writer
    writer.at = 0
    writer.varint(support)
    view.codec.encode(writer, state)
    return writer.copy()
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}

export const yieldToEventLoop = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
