// Where transactions end, and so which place a record has in its own. A batch says only of its last block that it is the last,
// so who begins in the midst of one looks back.
import type { Log, LogBlock } from './log.ts'

/** How far to look back for the end of a transaction, records: first the one at hand, then this many times more. */
const LOOK_BACK_FACTOR = 64

/** Lets others run where that is due. */
export interface Turn {
  readonly due: boolean
  rest(): Promise<void>
}

/** Durable blocks after a position, in order. */
export type BlocksAfter = (after: number) => AsyncIterable<LogBlock>

/** The blocks of a log up to its durable end. */
export const blocksOf = (log: Pick<Log, 'read'>): BlocksAfter =>
  async function* (after) {
    const reader = log.read(after)
    try {
      for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) yield* blocks
    } finally {
      reader.close()
    }
  }

/** The greatest end of a transaction at or before a position; 0 where none is. */
export async function cutAt(blocks: BlocksAfter, position: number, turn?: Turn): Promise<number> {
  for (let back = 1; ; back *= LOOK_BACK_FACTOR) {
    const after = Math.max(0, position - back)
    const found = await lastEnd(blocks(after), position, turn)
    if (found !== undefined || after === 0) return found ?? 0
  }
}

async function lastEnd(blocks: AsyncIterable<LogBlock>, upTo: number, turn: Turn | undefined) {
  let found: number | undefined
  for await (const { count, end, last } of blocks) {
    if (end > upTo) return found
    if (last && count > 0) found = end
    if (end === upTo && count > 0) return found
    if (turn?.due) await turn.rest()
  }
  return found
}

/** Says which place a record has in its transaction, for who walks blocks in order. */
export class Sequence {
  readonly #horizon: number
  #began: number
  #ended = false

  private constructor(began: number, horizon: number) {
    this.#began = began
    this.#horizon = horizon
  }

  /**
   * @param from position of the first record that will be asked for
   * @param horizon position up to which records may have been removed: places there are not known
   */
  static async from(blocks: BlocksAfter, from: number, horizon: number): Promise<Sequence> {
    return new Sequence(from <= 1 ? 1 : (await cutAt(blocks, from - 1)) + 1, horizon)
  }

  /** Steps to the next block. */
  enter({ first, last }: LogBlock): void {
    if (this.#ended) this.#began = first
    this.#ended = last
  }

  /** Its place, from 1, of a record of the block at hand; null where what came before it may have been removed. */
  of(position: number): number | null {
    return position <= this.#horizon ? null : position - this.#began + 1
  }
}
