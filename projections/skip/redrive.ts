// Dead letters as operations see them: listed by view, and called again by a record in the log, so that a replay does the same.
import { fail, type Log } from '../../core/index.ts'
import { appendViewControls } from '../view-control.ts'
import type { DeadLetterEntry } from './dead-letters.ts'

/** Positions in one record. */
const POSITIONS_PER_RECORD = 1_000

export interface Redriven {
  /** Positions of the records whose calls are made again. */
  readonly positions: readonly number[]
  /** Position at which they are: when the view is there, it is done. */
  readonly position: number
}

/** Gives the dead letters of a view; undefined where it skips nothing. @throws VIEW_UNKNOWN */
export type LettersOf = (view: string) => Promise<readonly DeadLetterEntry[] | undefined>

export class DeadLetterDesk {
  readonly #log: Log
  readonly #lettersOf: LettersOf

  constructor(log: Log, lettersOf: LettersOf) {
    this.#log = log
    this.#lettersOf = lettersOf
  }

  /** The dead letters of a view, in the order of the log; none where it skips nothing. @throws VIEW_UNKNOWN */
  async list(view: string): Promise<readonly DeadLetterEntry[]> {
    return (await this.#lettersOf(view)) ?? []
  }

  /**
   * Has what was skipped called again, where the log then stands: what succeeds is a dead letter no more.
   * @param positions of the records; undefined: of all dead letters there are
   * @throws VIEW_UNKNOWN, DEAD_LETTER_UNKNOWN where a position has none, LOG_FULL, LOG_FAILED: nothing is called then
   */
  async redrive(view: string, positions?: readonly number[]): Promise<Redriven> {
    const letters = await this.list(view)
    const known = new Set(letters.map(({ position }) => position))
    const unknown = positions?.find(position => !known.has(position))
    if (unknown !== undefined || known.size === 0)
      throw fail(
        'DEAD_LETTER_UNKNOWN',
        `view '${view}' has no dead letter${unknown === undefined ? '' : ` of position ${unknown}`}`,
        {
          detail: `it has ${known.size}`,
        },
      )
    const wanted = [...(positions === undefined ? known : new Set(positions))].sort((a, b) => a - b)
    const controls = []
    for (let from = 0; from < wanted.length; from += POSITIONS_PER_RECORD)
      controls.push({ view, event: 'redrive' as const, positions: wanted.slice(from, from + POSITIONS_PER_RECORD) })
    const { last } = await appendViewControls(this.#log, controls)
    return { positions: wanted, position: last }
  }
}
