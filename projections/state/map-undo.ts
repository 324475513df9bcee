// What undoes changes of maps within one handler call: their entries as they were, in the order of the changes. A set is one
// entry to remember; a delete remembers the whole map, whose order it changes.
import type { StateMap } from './state-map.ts'

/** Puts back what one change did. */
type Step =
  | { readonly map: StateMap; readonly key: unknown; readonly had: boolean; readonly value: unknown }
  | { readonly map: StateMap; readonly entries: ReadonlyMap<unknown, unknown> }

export class MapUndo {
  readonly #steps: Step[] = []

  /** To be called before an entry is set. */
  beforeSet(map: StateMap, key: unknown): void {
    this.#steps.push({ map, key, had: map.has(key), value: map.get(key) })
  }

  /** To be called before entries are taken away. */
  beforeDelete(map: StateMap): void {
    this.#steps.push({ map, entries: new Map(map) })
  }

  /** Forgets what was changed so far. */
  begin(): void {
    this.#steps.length = 0
  }

  /** Puts all back. */
  undo(): void {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      if ('entries' in step) step.map.restoreAll(step.entries)
      else step.map.restore(step.key, step.had, step.value)
    }
  }
}
