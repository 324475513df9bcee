// Checkpoints: the rows changed since the last one, with each view's position and the fingerprint, in one transaction of
// the table store. Reading them back gives exactly the state at those positions; what came later is folded again from the log.
import { asMainstemError, ByteReader, ByteWriter, type TableStore } from '../core/index.ts'
import type { FoldedView } from './view.ts'

const META = 'checkpoint'

interface CheckpointMeta {
  readonly logId: string
  readonly fingerprint: string
  /** View → the position it stands at. */
  readonly positions: Readonly<Record<string, number>>
  /** Sources whose snapshot was complete. */
  readonly complete: readonly string[]
}

/** Rows written between two yields to the event loop. */
const ROWS_PER_SLICE = 2_000

export class Checkpoints {
  readonly #store: TableStore
  readonly #logId: string
  readonly #fingerprint: string
  readonly #writer = new ByteWriter()
  /** View → the position at which its rows were last written. */
  #positions: Record<string, number> = {}

  constructor(store: TableStore, logId: string, fingerprint: string) {
    this.#store = store
    this.#logId = logId
    this.#fingerprint = fingerprint
  }

  /** Loads the views' rows and positions; empties what was made by other code or from another log. Returns what was loaded. */
  async load(
    views: readonly FoldedView[],
  ): Promise<{ readonly rebuild: boolean; readonly complete: readonly string[] }> {
    const meta = this.#store.meta(META) as CheckpointMeta | undefined
    const usable = meta !== undefined && meta.logId === this.#logId && meta.fingerprint === this.#fingerprint
    for (const view of views) {
      const position = usable ? meta.positions[view.name] : undefined
      if (position === undefined) await this.#store.clear(view.name)
      else {
        await this.#loadView(view, position)
        this.#positions[view.name] = position
      }
    }
    return { rebuild: meta !== undefined && !usable, complete: usable ? meta.complete : [] }
  }

  async #loadView(view: FoldedView, position: number): Promise<void> {
    view.position = position
    let loaded = 0
    for (const [keyBytes, value] of this.#store.entries(view.name)) {
      const reader = new ByteReader(value)
      const support = reader.varint()
      view.restore(Buffer.from(keyBytes), support, view.codec.decode(reader))
      if (++loaded % ROWS_PER_SLICE === 0) await yieldToEventLoop()
    }
  }

  /**
   * Writes what changed. The caller applies nothing until `copied` resolves: then every changed row has been encoded at
   * one cut and work may go on, while `done` waits for the disk.
   */
  write(
    views: readonly FoldedView[],
    complete: readonly string[],
  ): { readonly copied: Promise<void>; readonly done: Promise<void> } {
    const copied = this.#copy(views, complete)
    return { copied, done: copied.then(() => this.#store.commit()) }
  }

  async #copy(views: readonly FoldedView[], complete: readonly string[]): Promise<void> {
    for (const view of views) if (!view.error) await this.#copyView(view)
    // A view that has stopped stays at the position at which its rows were last written.
    const meta: CheckpointMeta = {
      logId: this.#logId,
      fingerprint: this.#fingerprint,
      positions: { ...this.#positions },
      complete,
    }
    this.#store.setMeta(META, meta)
  }

  async #copyView(view: FoldedView): Promise<void> {
    const { dirty } = view
    view.dirty = new Set()
    try {
      let copied = 0
      for (const entry of dirty) {
        if (entry.support <= 0) this.#store.remove(view.name, entry.keyBytes)
        else this.#store.put(view.name, entry.keyBytes, this.#encode(view, entry.support, entry.state))
        if (++copied % ROWS_PER_SLICE === 0) await yieldToEventLoop()
      }
      this.#positions[view.name] = view.position
    } catch (error) {
      // A nested value that is not of its type shows only here. Some rows are written, others not: the view has no
      // checkpoint any more, and a restart folds it from the beginning.
      delete this.#positions[view.name]
      view.stop(asMainstemError(error, 'STATE_INVALID', `a row of '${view.name}' cannot be stored`))
    }
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
