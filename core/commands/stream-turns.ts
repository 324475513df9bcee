// One after the other on each stream, beside each other on different ones.
import { fail } from '../errors.ts'
import { COMMANDS_MAX } from './limits.ts'

export class StreamTurns {
  /** The last that was asked for, by stream. */
  readonly #last = new Map<string, Promise<unknown>>()
  #count = 0

  /** Runs the work when all that was asked for before it on the stream has ended, whichever way. @throws OVERLOADED; as the work */
  async take<T>(id: string, work: () => Promise<T>): Promise<T> {
    if (this.#count >= COMMANDS_MAX)
      throw fail('OVERLOADED', 'too many commands are waiting', { detail: `${COMMANDS_MAX} at a time is the limit` })
    this.#count++
    const before = this.#last.get(id)
    const run = before === undefined ? work() : before.then(work, work)
    this.#last.set(id, run)
    try {
      return await run
    } finally {
      this.#count--
      if (this.#last.get(id) === run) this.#last.delete(id)
    }
  }
}
