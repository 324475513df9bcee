// Checkpoints: the rows changed since the last one, with each view's position and fingerprint, in one transaction of
// the table store. Reading them back gives exactly the state at those positions; what came later is folded again from the log.
import {
  asMainstemError,
  ByteReader,
  ByteWriter,
  type Held,
  isMainstemError,
  type Log,
  type MainstemError,
  readStoreMeta,
  type TableStore,
} from '../core/index.ts'
import { storedRow } from './rows-at-cut.ts'
import { type Scheduler, Turns } from './shards/scheduler.ts'
import {
  type ContinuedFrom,
  factsOf,
  planStart,
  type ViewCheckpoint,
  type ViewFacts,
  type ViewPlan,
} from './start-plan.ts'
import type { FoldedView } from './view.ts'

const META = 'checkpoint'

interface CheckpointMeta {
  readonly logId: string
  /** By name; the first versions wrote none. */
  readonly views?: Readonly<Record<string, ViewCheckpoint>>
  /** Sources whose snapshot was complete. */
  readonly complete: readonly string[]
  /** Measured by the last start that had much to catch up with. */
  readonly recordsPerSecond?: number | null
}

/** What views that nobody has open need of the log: all after their last checkpoint. None where the checkpoints are of another log. */
export async function viewsHeld(path: string, logId: string): Promise<readonly Held[]> {
  const meta = (await readStoreMeta(path, META)) as CheckpointMeta | undefined
  if (meta?.logId !== logId) return []
  return Object.entries(meta.views ?? {}).map(([view, { position }]) => ({ name: `view ${view}`, position }))
}

/** Code changes over which a view was continued that are remembered. */
const CONTINUED_MAX = 100

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
  readonly #turns: () => Turns
  readonly #writer = new ByteWriter()
  readonly #meta: CheckpointMeta | undefined
  /** By view, as its rows were last written. */
  readonly #views: Record<string, ViewCheckpoint>
  /** Of the view as it is now. */
  readonly #facts = new Map<string, ViewFacts>()
  /** By what the next start estimates; null until measured. */
  recordsPerSecond: number | null

  /** @param sliceMs longest run without a yield */
  constructor(
    store: TableStore,
    log: Log,
    fingerprint: string,
    { scheduler, sliceMs }: { readonly scheduler: Scheduler; readonly sliceMs: number },
  ) {
    this.#store = store
    this.#turns = () => new Turns(scheduler, sliceMs)
    this.#log = log
    this.#fingerprint = fingerprint
    this.#meta = store.meta(META) as CheckpointMeta | undefined
    this.#views = { ...this.#meta?.views }
    this.recordsPerSecond = this.#meta?.recordsPerSecond ?? null
  }

  /** What a start is to do with these views; changes nothing. @throws VIEW_CANNOT_CONTINUE */
  plan(views: readonly FoldedView[], continueFrom: readonly string[]): readonly ViewPlan[] {
    const { recordsPerSecond } = this
    const [log, fingerprint, logId] = [this.#log, this.#fingerprint, this.#meta?.logId]
    return planStart({ views, log, fingerprint, saved: this.#views, logId, continueFrom, recordsPerSecond })
  }

  /**
   * Loads the views' rows and positions as planned, and empties those that begin anew. A stopped view is left as it is on disk.
   * Returns the sources whose snapshot was complete.
   */
  async load(views: readonly FoldedView[], plans: readonly ViewPlan[]): Promise<readonly string[]> {
    const complete = this.#meta?.logId === this.#log.id ? this.#meta.complete : []
    const [kept, anew]: [FoldedView[], FoldedView[]] = [[], []]
    for (const [n, view] of views.entries()) {
      this.#facts.set(view.name, factsOf(view, this.#log))
      if (view.error) continue
      const { plan } = plans[n]!
      if (plan === 'new' || plan === 'rebuild') {
        delete this.#views[view.name]
        anew.push(view)
        continue
      }
      if (plan === 'continue') this.#continue(view)
      kept.push(view)
    }
    // First what they are, then their rows: a crash in between must not leave an empty view that is said to be somewhere.
    if (this.#meta !== undefined) {
      this.#setMeta(complete)
      await this.#store.commit()
    }
    for (const view of anew) await this.#store.clear(view.name)
    for (const view of kept) await this.#loadWithin(view, this.#views[view.name]!.position)
    return complete
  }

  /** Where the rows are more than the memory limit, the view stops; with more memory the next start goes on from them. */
  async #loadWithin(view: FoldedView, position: number): Promise<void> {
    try {
      await this.#loadView(view, position)
    } catch (error) {
      if (!isMainstemError(error) || error.code !== 'STATE_TOO_LARGE') throw error
      view.stop(error)
    }
  }

  /** From here on a view is of this code; where the former one ended is written down. */
  #continue({ name }: FoldedView): void {
    const { position, generation, fingerprint, continued } = this.#views[name]!
    this.#views[name] = {
      position,
      generation,
      fingerprint: this.#fingerprint,
      facts: this.#facts.get(name)!,
      continued: [...continued, { position, fingerprint }].slice(-CONTINUED_MAX),
    }
  }

  #setMeta(complete: readonly string[]): void {
    const { recordsPerSecond } = this
    const meta: CheckpointMeta = { logId: this.#log.id, views: { ...this.#views }, complete, recordsPerSecond }
    this.#store.setMeta(META, meta)
  }

  /** Where a view's rows were last written. */
  position(view: FoldedView): number | undefined {
    return this.#views[view.name]?.position
  }

  /** Where other code handed the view over, oldest first. */
  continued(view: FoldedView): readonly ContinuedFrom[] {
    return this.#views[view.name]?.continued ?? []
  }

  async #loadView(view: FoldedView, position: number): Promise<void> {
    view.position = position
    const turns = this.#turns()
    for (const [keyBytes, value] of this.#store.entries(view.name)) {
      const reader = new ByteReader(value)
      const support = reader.varint()
      view.restore(Buffer.from(keyBytes), support, view.codec.decode(reader))
      if (turns.over) await turns.next()
    }
  }

  /**
   * Writes what has changed, as of this call: the caller is at a cut. Folding goes on meanwhile: a row that is about to
   * change is written first (copy on write), the others between other work. Resolves when all of it is on disk.
   * @param generation of the log's base from which they were folded
   * @param published resolves when all that they emitted up to here is in the log: a restart from here does not emit it again
   * @throws LOG_FULL, LOG_FAILED: the next one writes what this one could not; and what `published` throws
   */
  async write(
    views: readonly FoldedView[],
    complete: readonly string[],
    generation: number,
    published: Promise<void>,
  ): Promise<void> {
    const savings = views.filter(view => !view.error).map(view => this.#begin(view, generation))
    for (const saving of savings) await this.#finish(saving)
    await published
    // A view that has stopped stays at the position at which its rows were last written.
    this.#setMeta(complete)
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
      else this.#store.put(view.name, key, storedRow(view, row, this.#writer))
    } catch (error) {
      saving.error ??= asMainstemError(error, 'STATE_INVALID', `a row of '${view.name}' cannot be stored`)
    }
  }

  async #finish(saving: Saving): Promise<void> {
    const { view } = saving
    const turns = this.#turns()
    while (view.changes.step()) if (turns.over) await turns.next()
    if (saving.error === undefined) {
      this.#views[view.name] = {
        position: saving.position,
        generation: saving.generation,
        fingerprint: this.#fingerprint,
        facts: this.#facts.get(view.name)!,
        continued: this.continued(view),
      }
      return
    }
    // A nested value that is not of its type shows only here. Some rows are written, others not: the view has no
    // checkpoint any more, and a restart folds it from the beginning.
    delete this.#views[view.name]
    view.stop(saving.error)
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}
