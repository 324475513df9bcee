// From the columns of a sealed block back to records as they stand in a hot one.
import { type AnyRow, ByteWriter } from '../../contract/index.ts'
import { OP_PARKED, OP_UPDATE } from '../records.ts'
import type { Layout } from '../topics.ts'
import type { ImageData, SealedBlock } from './sealed-block.ts'

export class Unsealer {
  readonly #payload = new ByteWriter(1 << 20)
  readonly #row = new ByteWriter()

  /** Bytes written since the last `take`. */
  get bytes(): number {
    return this.#payload.at
  }

  /**
   * Writes record `n` of a block.
   * @param as in its own layout, or in the current one of its topic
   */
  add(block: SealedBlock, n: number, as: 'stored' | 'current'): void {
    const row = this.#row
    const { layout, op, images, parked } = block.groups[block.groupOf[n]!]!
    const at = block.localOf[n]!
    const position = block.positions?.[n] ?? block.entry.first + n
    const rowOf = (image: ImageData) => (as === 'stored' ? image.row(at) : layout.adapt(image.row(at), position))
    const [after, before] = images.map(rowOf)
    const to = as === 'stored' ? layout : currentOf(layout, after)
    row.at = 0
    row.varint(to.id)
    row.u8(op)
    if (op === OP_PARKED) row.raw(parked!.bytes(at))
    if (op === OP_UPDATE) encodeBefore(row, () => to.codec.encode(row, before!))
    if (after) to.codec.encode(row, after)
    this.#payload.bytes(row.buffer.subarray(0, row.at))
  }

  /** The records, as the payload of a block. */
  take(): Buffer {
    const payload = this.#payload.copy()
    this.#payload.at = 0
    return payload
  }
}

const currentOf = ({ topic }: Layout, row: AnyRow | undefined): Layout =>
  row ? topic.layoutOf(row) : topic.layouts[0]!

/** The row before, after its length. */
function encodeBefore(row: ByteWriter, encode: () => void): void {
  const start = row.at
  encode()
  const bytes = Buffer.from(row.buffer.subarray(start, row.at))
  row.at = start
  row.bytes(bytes)
}
