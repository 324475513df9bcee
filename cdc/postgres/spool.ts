// Transactions that the server sends while they run (pgoutput's streaming): their messages are kept in a file each, interleaved
// as they come, until their commit says that they count. Nothing of them touches the log or the mirror before. A file is made
// durable by nobody: after any end of the connection the server sends the transaction again from its beginning.
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fail, isFull, textOf } from '../../core/index.ts'

/** Messages in memory before they are written. */
const BUFFER_BYTES = 1024 * 1024
/** Before each message, its length. */
const LENGTH_BYTES = 4
/** Type, and the transaction's id, which the file's messages do not have. */
const HEAD_BYTES = 5

interface Begun {
  readonly transaction: number
  /** Where its first message stands. */
  readonly at: number
}

/** One transaction. */
interface Spooled {
  readonly file: FileHandle
  readonly path: string
  /** What counts of the file. */
  bytes: number
  /** Its subtransactions, itself included, in the order of their first messages. */
  begun: Begun[]
}

export class Spool {
  readonly #source: string
  readonly #folder: string
  readonly #transactions = new Map<number, Spooled>()
  #current: Spooled | undefined
  /** Messages of the current transaction that are not in its file yet. */
  #buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  #at = 0
  #closed = false

  private constructor(source: string, folder: string) {
    this.#source = source
    this.#folder = folder
  }

  /** @param folder its own: what it holds is removed */
  static async open(source: string, folder: string): Promise<Spool> {
    await rm(folder, { recursive: true, force: true })
    return new Spool(source, folder)
  }

  /** True between the beginning and the end of a part of a transaction. */
  get isOpen(): boolean {
    return this.#current !== undefined
  }

  /** What waits in memory should be written before more is added. */
  get isFull(): boolean {
    return this.#at >= BUFFER_BYTES
  }

  /** A part of a transaction begins. Gives what to wait for before anything is added. */
  begin(transaction: number): Promise<void> | undefined {
    this.#current = this.#transactions.get(transaction)
    return this.#current ? undefined : this.#create(transaction)
  }

  async #create(transaction: number): Promise<void> {
    await mkdir(this.#folder, { recursive: true })
    const path = join(this.#folder, String(transaction))
    const file = await this.#writing(() => open(path, 'w+'))
    this.#current = { file, path, bytes: 0, begun: [] }
    this.#transactions.set(transaction, this.#current)
    if (this.#closed) await file.close()
  }

  /** Adds a message as it came: type, id of the subtransaction, content. */
  add(message: Buffer): void {
    const { bytes, begun } = this.#current!
    const transaction = message.readUInt32BE(1)
    const at = bytes + this.#at
    if (begun.at(-1)?.transaction !== transaction && !begun.some(each => each.transaction === transaction))
      begun.push({ transaction, at })
    const length = message.length - HEAD_BYTES + 1
    this.#reserve(LENGTH_BYTES + length)
    this.#buffer.writeUInt32LE(length, this.#at)
    this.#buffer[this.#at + LENGTH_BYTES] = message[0]!
    message.copy(this.#buffer, this.#at + LENGTH_BYTES + 1, HEAD_BYTES)
    this.#at += LENGTH_BYTES + length
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + bytes))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }

  /** Writes what waits in memory. @throws LOG_FULL, LOG_FAILED */
  async flush(): Promise<void> {
    const current = this.#current
    if (!current || this.#at === 0) return
    const bytes = this.#buffer.subarray(0, this.#at)
    await this.#writing(async () => {
      for (let at = 0; at < bytes.length; )
        at += (await current.file.write(bytes, at, bytes.length - at, current.bytes + at)).bytesWritten
    })
    current.bytes += bytes.length
    this.#at = 0
    if (this.#buffer.length > 4 * BUFFER_BYTES) this.#buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  }

  /** The part ends. */
  async end(): Promise<void> {
    await this.flush()
    this.#current = undefined
  }

  /** A subtransaction was rolled back, or, where both are the same, the transaction. */
  async abort(transaction: number, sub: number): Promise<void> {
    if (transaction === sub) return this.remove(transaction)
    const spooled = this.#transactions.get(transaction)
    const n = spooled?.begun.findIndex(each => each.transaction === sub) ?? -1
    if (!spooled || n < 0) return
    // All that came after its first message is of it, or of subtransactions within it.
    spooled.bytes = spooled.begun[n]!.at
    spooled.begun = spooled.begun.slice(0, n)
  }

  /** The messages of a transaction, without its id, about 1 MiB of them at a time; valid until the next ones are asked for. */
  async *messages(transaction: number): AsyncGenerator<readonly Buffer[]> {
    const spooled = this.#transactions.get(transaction)
    let window = Buffer.allocUnsafe(BUFFER_BYTES)
    let at = 0
    while (spooled && at < spooled.bytes) {
      const wanted = Math.min(window.length, spooled.bytes - at)
      const { bytesRead } = await spooled.file.read(window, 0, wanted, at)
      if (bytesRead === 0) throw fail('LOG_FAILED', `the messages of a transaction of ${this.#source} are gone`)
      const messages: Buffer[] = []
      let used = 0
      while (used + LENGTH_BYTES <= bytesRead) {
        const end = used + LENGTH_BYTES + window.readUInt32LE(used)
        if (end > bytesRead) break
        messages.push(window.subarray(used + LENGTH_BYTES, end))
        used = end
      }
      if (messages.length > 0) yield messages
      else window = Buffer.allocUnsafe(Math.max(BUFFER_BYTES, LENGTH_BYTES + window.readUInt32LE(0)))
      at += used
    }
  }

  async remove(transaction: number): Promise<void> {
    const spooled = this.#transactions.get(transaction)
    this.#transactions.delete(transaction)
    await spooled?.file.close()
    if (spooled) await rm(spooled.path, { force: true })
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const transaction of [...this.#transactions.keys()]) await this.remove(transaction).catch(() => {})
    await rm(this.#folder, { recursive: true, force: true }).catch(() => {})
  }

  async #writing<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write()
    } catch (error) {
      throw fail(isFull(error) ? 'LOG_FULL' : 'LOG_FAILED', `a large transaction of ${this.#source} cannot be kept`, {
        detail: textOf(error),
        cause: error,
      })
    }
  }
}
