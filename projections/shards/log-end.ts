// Tells when the log has grown: a reader that stands at its end.
import type { Log, LogReader } from '../../core/index.ts'

export class LogEnd {
  readonly #log: Log
  #reader: LogReader | undefined
  #closed = false

  constructor(log: Log) {
    this.#log = log
  }

  /** The durable end, once it is beyond `position`; undefined after close. */
  async beyond(position: number): Promise<number | undefined> {
    while (!this.#closed) {
      const { end } = this.#log
      if (end > position) return end
      if (this.#reader?.position !== end) {
        // What came meanwhile was read by those who fold it.
        this.#reader?.close()
        this.#reader = this.#log.read(end)
      }
      if ((await this.#reader.next()) === undefined) return undefined
    }
    return undefined
  }

  close(): void {
    this.#closed = true
    this.#reader?.close()
  }
}
