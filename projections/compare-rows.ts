// Compares the rows of a live view, as they are at a cut, with those of the same view folded a second time up to it. Each side
// has a hash that does not depend on the order of rows; the first difference is that of the smallest key bytes.
import { type AnyRow, ByteReader, ByteWriter } from '../core/index.ts'
import { HashSums, hashBytes, lanes } from './checkpoint/row-hash.ts'
import { type CutRows, idAt, storedRow } from './rows-at-cut.ts'
import type { KeyId } from './state/keys.ts'
import type { FoldedView } from './view.ts'

/** Flag of a row of the second fold for which there is a live one; flags of folding are below it. */
const SEEN = 16

/** What one side holds under a key. */
export interface ComparedRow {
  readonly value: AnyRow
  /** How many rows or events it is made of. */
  readonly support: number
}

export interface RowDifference {
  readonly key: unknown
  /** Null where that side has no such row. */
  readonly live: ComparedRow | null
  readonly refolded: ComparedRow | null
}

interface Compared {
  readonly rows: number
  readonly hash: string
  readonly refoldedHash: string
  readonly differences: number
  readonly first: { readonly id: KeyId; readonly difference: RowDifference } | undefined
}

/** One view's comparison. The second fold is at the cut and does not go on. */
export class RowComparison {
  readonly #liveRows: CutRows
  readonly #view: FoldedView
  readonly #writer = new ByteWriter()
  #rows = 0
  readonly #liveSum = new HashSums()
  readonly #refoldedSum = new HashSums()
  readonly #onDifference: (id: KeyId) => void
  #differences = 0
  #first: { key: Buffer; id: KeyId; live: Buffer | undefined; refolded: Buffer | undefined } | undefined

  /** @param onDifference told of each key whose rows differ */
  constructor(rows: CutRows, refolded: FoldedView, onDifference: (id: KeyId) => void = () => {}) {
    this.#onDifference = onDifference
    this.#liveRows = rows
    this.#view = refolded
    rows.takenBy((id, stored) => this.#takeLive(id, stored))
  }

  /** @param turn lets others run when it is their turn */
  async run(turn: () => Promise<void>): Promise<Compared> {
    await this.#liveRows.each(turn)
    for (let row = 0; row < this.#view.table.places; row++) {
      this.#takeRefolded(row)
      await turn()
    }
    return this.#result()
  }

  #takeLive(id: KeyId, stored: Buffer): void {
    const { table } = this.#view
    const key = table.keys.bytesOf(id)
    this.#rows++
    this.#hash(this.#liveSum, key, stored)
    const row = table.find(id)
    const other = row >= 0 && idAt(this.#view, row) !== undefined ? storedRow(this.#view, row, this.#writer) : undefined
    if (other !== undefined) table.setFlags(row, table.flags(row) | SEEN)
    if (other === undefined || !other.equals(stored)) this.#note(key, id, stored, other)
  }

  #takeRefolded(row: number): void {
    const id = idAt(this.#view, row)
    if (id === undefined) return
    const { table } = this.#view
    const key = table.keys.bytesOf(id)
    const stored = storedRow(this.#view, row, this.#writer)
    this.#hash(this.#refoldedSum, key, stored)
    if ((table.flags(row) & SEEN) === 0) this.#note(key, id, undefined, stored)
  }

  /** Adds a row to a hash: the one that checkpoints keep. */
  #hash(sums: HashSums, key: Buffer, stored: Buffer): void {
    const writer = this.#writer
    writer.at = 0
    writer.bytes(key)
    writer.raw(stored)
    hashBytes(writer.buffer, 0, writer.at)
    sums.add(0, 1, lanes.low, lanes.high)
  }

  #note(key: Buffer, id: KeyId, live: Buffer | undefined, refolded: Buffer | undefined): void {
    this.#differences++
    this.#onDifference(id)
    if (this.#first === undefined || key.compare(this.#first.key) < 0) this.#first = { key, id, live, refolded }
  }

  #result(): Compared {
    const first = this.#first
    return {
      rows: this.#rows,
      hash: this.#liveSum.total().hash,
      refoldedHash: this.#refoldedSum.total().hash,
      differences: this.#differences,
      first: first && {
        id: first.id,
        difference: {
          key: this.#view.table.keys.keyOf(first.id),
          live: this.#decode(first.live),
          refolded: this.#decode(first.refolded),
        },
      },
    }
  }

  #decode(stored: Buffer | undefined): ComparedRow | null {
    if (stored === undefined) return null
    const reader = new ByteReader(stored)
    return { support: reader.varint(), value: this.#view.codec.decode(reader) }
  }
}
