// Rows of a query, decoded from the socket's bytes as they come: nothing is collected, and the socket can be paused.
// https://mariadb.com/kb/en/result-set-packets/
import type { Socket } from 'node:net'
import type { Image } from '../connector/image.ts'
import { NULL, VALUE } from '../connector/image.ts'
import { isEnd, lengthSize, PacketReader, packetsOf, readLength } from './packets.ts'
import { throwServerError } from './server-error.ts'

const COM_QUERY = 3
const NULL_COLUMN = 0xfb

export class RowSocket {
  readonly #socket: Socket
  readonly #packets: PacketReader
  #onPacket: ((bytes: Buffer, start: number, end: number) => void) | undefined
  #reject: ((error: unknown) => void) | undefined
  #error: unknown

  /**
   * @param socket of a connection that nobody else uses
   * @param rowBytesMax what a row may take
   */
  constructor(socket: Socket, rowBytesMax: number) {
    this.#socket = socket
    this.#packets = new PacketReader(rowBytesMax)
    socket.on('data', chunk => this.#onData(chunk))
    socket.on('error', error => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('Connection lost: the server closed the connection')))
  }

  #onData(chunk: Buffer): void {
    try {
      this.#packets.push(chunk)
      while (this.#packets.next()) this.#onPacket?.(this.#packets.bytes, this.#packets.start, this.#packets.end)
    } catch (error) {
      this.#fail(error)
      this.#socket.destroy()
    }
  }

  #fail(error: unknown): void {
    this.#error ??= error
    this.#reject?.(this.#error)
  }

  /** Runs one query; `onRow` gets each row's payload, valid during the call. What it throws ends the connection. */
  query(sql: string, onRow: (bytes: Buffer, start: number, end: number) => void): Promise<void> {
    if (this.#error) return Promise.reject(this.#error)
    return new Promise((resolve, reject) => {
      this.#reject = reject
      const done = () => {
        this.#onPacket = undefined
        this.#reject = undefined
        resolve()
      }
      let definitions = -1
      let inRows = false
      this.#onPacket = (bytes, start, end) => {
        if (bytes[start] === 0xff) {
          this.#onPacket = undefined
          throwServerError(bytes, start, end)
        }
        if (definitions < 0) {
          definitions = readLength(bytes, start)
          if (definitions === 0) done()
        } else if (definitions > 0) definitions--
        // An EOF may or may not stand between definitions and rows; a row never looks like one.
        else if (isEnd(bytes, start, end)) {
          if (inRows) done()
          inRows = true
        } else {
          inRows = true
          onRow(bytes, start, end)
        }
      }
      this.#socket.write(packetsOf(Buffer.concat([Buffer.from([COM_QUERY]), Buffer.from(sql)])))
    })
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

/** Reads a row's payload: texts with their lengths, 0xfb for NULL. */
export function readTextRow(bytes: Buffer, start: number, end: number, image: Image): void {
  image.bytes = bytes
  let column = 0
  for (let at = start; at < end; column++) {
    const first = bytes[at]!
    if (first === NULL_COLUMN) {
      image.kinds[column] = NULL
      at++
      continue
    }
    const length = readLength(bytes, at)
    at += lengthSize(first)
    image.kinds[column] = VALUE
    image.starts[column] = at
    at += length
    image.ends[column] = at
  }
  image.count = column
}
