// A row image: where each column's value lies in the bytes that the server sent. One cursor serves all rows of a stream.
import { sameBytes } from '../../core/index.ts'

export const NULL = 0x6e
/** The server sent no value: it is still what it was. */
export const UNCHANGED = 0x75
export const VALUE = 0x74

/** Valid until the next message: copy what is kept. */
export class Image {
  bytes: Buffer = Buffer.alloc(0)
  count = 0
  kinds = new Uint8Array(64)
  starts = new Int32Array(64)
  ends = new Int32Array(64)

  /** Makes room for so many columns. */
  reserve(count: number): void {
    if (count <= this.kinds.length) return
    this.kinds = new Uint8Array(count)
    this.starts = new Int32Array(count)
    this.ends = new Int32Array(count)
  }
}

/** Whether a column has the same bytes in two images. */
export function isSame(a: Image, b: Image, place: number): boolean {
  if (a.kinds[place] !== b.kinds[place]) return false
  if (a.kinds[place] !== VALUE) return true
  const [from, other] = [a.starts[place]!, b.starts[place]!]
  const length = a.ends[place]! - from
  return b.ends[place]! - other === length && sameBytes(a.bytes, from, b.bytes, other, length)
}
