// How rows came to be, as the last read of their past found it: the records that went to a key and the row after each. Another
// read of the same key, at any earlier place, and its lineage, fold nothing.
import type { AnyRow } from '../../core/index.ts'
import type { KeyId } from '../state/keys.ts'
import type { LineageStep } from './past.ts'

/** Steps of one key that are kept; a longer history is folded each time. */
export const STEPS_PER_KEY_MAX = 4_096
/** Of all keys, by estimate. */
const BYTES_MAX = 64 * 1024 * 1024
const ENTRY_BYTES = 200

export interface History {
  /** Oldest first. */
  readonly steps: readonly LineageStep[]
  /** Position up to which it is whole. */
  readonly upTo: number
}

export class Histories {
  /** The least recently used first. */
  readonly #kept = new Map<string, History & { readonly bytes: number }>()
  #bytes = 0

  /** All steps up to a cut; undefined where they are not known. */
  upTo(view: string, id: KeyId, cut: number): readonly LineageStep[] | undefined {
    const name = nameOf(view, id)
    const kept = this.#kept.get(name)
    if (kept === undefined || kept.upTo < cut) return undefined
    this.#kept.delete(name)
    this.#kept.set(name, kept)
    return kept.upTo === cut ? kept.steps : kept.steps.filter(({ position }) => position <= cut)
  }

  keep(view: string, id: KeyId, { steps, upTo }: History): void {
    const name = nameOf(view, id)
    this.#forget(name)
    const bytes = steps.reduce((sum, step) => sum + stepBytes(step), ENTRY_BYTES)
    this.#kept.set(name, { steps, upTo, bytes })
    this.#bytes += bytes
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= BYTES_MAX) return
      this.#forget(oldest)
    }
  }

  #forget(name: string): void {
    const kept = this.#kept.get(name)
    if (kept === undefined) return
    this.#kept.delete(name)
    this.#bytes -= kept.bytes
  }
}

const nameOf = (view: string, id: KeyId): string => `${view} ${typeof id} ${id}`

/** The row before is that after the step before. */
const stepBytes = ({ record, after }: LineageStep): number =>
  ENTRY_BYTES + bytesOf(record.before) + bytesOf(record.after) + bytesOf(after)

/** About what a value takes in memory. */
function bytesOf(value: AnyRow | unknown): number {
  if (typeof value === 'string') return 16 + 2 * value.length
  if (typeof value !== 'object' || value === null) return 8
  if (value instanceof Uint8Array) return 64 + value.length
  let bytes = 32
  for (const each of value instanceof Map ? [...value].flat() : Object.values(value)) bytes += 8 + bytesOf(each)
  return bytes
}
