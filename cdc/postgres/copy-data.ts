// What a server sends as CopyData (rows of a COPY, the replication stream), taken from the socket's bytes: pg's own parser makes an
// object of each such message and emits an event for it, which costs more than decoding a row. All other messages are pg's, as before.
// https://www.postgresql.org/docs/current/protocol-message-formats.html
import { valueTooLarge } from '../connector/message-limit.ts'
import { type Client, socketOf } from './connection.ts'

const HEADER_BYTES = 5
const COPY_DATA = 0x64

/** @param bytes valid until the next call */
export type OnCopyData = (bytes: Buffer, start: number, end: number) => void

/**
 * From here on CopyData is `onData`'s. To be called between two queries: then pg's parser holds no part of a message. What `onData`
 * throws is thrown out of the socket's event. Gives what undoes it.
 * @param bytesMax of a message: a longer one ends the connection with SOURCE_VALUE_TOO_LARGE
 */
export function takeCopyData(client: Client, bytesMax: number, onData: OnCopyData): () => void {
  const socket = socketOf(client)
  const parsers = socket.listeners('data') as ((bytes: Buffer) => void)[]
  const onOther = (bytes: Buffer) => {
    for (const parse of parsers) parse(bytes)
  }
  const messages = new Messages(onData, onOther, bytesMax, () => socket.destroy(valueTooLarge(bytesMax)))
  const take = (chunk: Buffer) => messages.take(chunk)
  for (const parse of parsers) socket.off('data', parse)
  socket.on('data', take)
  let taken = true
  return () => {
    if (!taken) return
    taken = false
    socket.off('data', take)
    for (const parse of parsers) socket.on('data', parse)
    messages.end()
  }
}

class Messages {
  readonly #onData: OnCopyData
  readonly #onOther: (bytes: Buffer) => void
  readonly #bytesMax: number
  readonly #onTooLarge: () => void
  /** The beginning of a message, joined only when it is whole: a large one comes in thousands of parts. */
  #parts: Buffer[] = []
  #partBytes = 0
  /** What the message at hand takes, as far as that is known. */
  #wanted = HEADER_BYTES
  #ended = false

  constructor(onData: OnCopyData, onOther: (bytes: Buffer) => void, bytesMax: number, onTooLarge: () => void) {
    this.#onData = onData
    this.#onOther = onOther
    this.#bytesMax = bytesMax
    this.#onTooLarge = onTooLarge
  }

  take(chunk: Buffer): void {
    const held = this.#partBytes
    if (held + chunk.length < this.#wanted) {
      this.#keep(chunk)
      return
    }
    const bytes = held === 0 ? chunk : Buffer.concat([...this.#parts, chunk], held + chunk.length)
    this.#parts = []
    this.#partBytes = 0
    this.#wanted = HEADER_BYTES
    let at = 0
    while (at + HEADER_BYTES <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1)
      if (end > bytes.length) {
        this.#wanted = end - at
        if (this.#wanted > this.#bytesMax) this.#onTooLarge()
        break
      }
      if (bytes[at] === COPY_DATA) this.#onData(bytes, at + HEADER_BYTES, end)
      else this.#onOther(bytes.subarray(at, end))
      at = end
      if (this.#ended) break
    }
    if (at === bytes.length) return
    const rest = at === 0 ? bytes : bytes.subarray(at)
    if (this.#ended) this.#onOther(rest)
    else this.#keep(rest)
  }

  #keep(bytes: Buffer): void {
    this.#parts.push(bytes)
    this.#partBytes += bytes.length
  }

  /** What is held is pg's. */
  end(): void {
    this.#ended = true
    for (const part of this.#parts.splice(0)) this.#onOther(part)
  }
}
