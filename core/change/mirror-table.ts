// One table's part of the mirror: the current accepted row of each key, and what is parked.
// A stored value = 4 bytes epoch (the snapshot that last saw the row) + the contract's stored form of the row.
import { type AnyRow, ByteReader, ByteWriter, type ObjectContract } from '../contract/index.ts'
import type { LogTopic } from '../log/index.ts'
import type { TableStore } from '../state/index.ts'
import { ParkedRows } from './parked-rows.ts'

const EPOCH_BYTES = 4

/** One table's part of the mirror. */
export class MirrorTable extends ParkedRows {
  readonly contract: ObjectContract
  readonly #writer = new ByteWriter()
  readonly #reader = new ByteReader(Buffer.alloc(0))
  /** Keys inserted and not committed yet, by the commit that will make it so: what a walk over the committed rows does not see. */
  #fresh: Buffer[][] = [[]]

  constructor(store: TableStore, contract: ObjectContract, topic: LogTopic) {
    super(store, topic)
    this.contract = contract
  }

  /** The stored value of a key; valid until the next call that yields. */
  find(key: Buffer): Buffer | undefined {
    return this.store.get(this.name, key)
  }

  row(stored: Buffer): AnyRow {
    this.#reader.buffer = stored
    this.#reader.at = EPOCH_BYTES
    return this.contract.codec.decode(this.#reader)
  }

  /** Committed rows in the order of their key bytes, after a key. */
  *rowsAfter(key: Buffer | undefined): Iterable<AnyRow> {
    for (const [, stored] of this.store.entries(this.name, key)) yield this.row(stored)
  }

  /** The row's own bytes of a stored value: equal for equal rows. */
  rowBytes(stored: Buffer): Buffer {
    return stored.subarray(EPOCH_BYTES)
  }

  /** The row of what `rowBytes` gave. */
  rowOf(bytes: Buffer): AnyRow {
    this.#reader.buffer = bytes
    this.#reader.at = 0
    return this.contract.codec.decode(this.#reader)
  }

  epochOf(stored: Buffer): number {
    return stored.readUInt32LE(0)
  }

  /** The stored form of a row. @throws RECORD_REFUSED */
  encode(row: AnyRow, epoch: number): Buffer {
    const writer = this.#writer
    writer.at = EPOCH_BYTES
    writer.buffer.writeUInt32LE(epoch, 0)
    this.contract.codec.encode(writer, row)
    return writer.copy()
  }

  /** True where both hold the same row, whatever their epochs. */
  same(a: Buffer, b: Buffer): boolean {
    return a.length === b.length && a.compare(b, EPOCH_BYTES, b.length, EPOCH_BYTES, a.length) === 0
  }

  put(key: Buffer, value: Buffer, isNew: boolean): void {
    this.store.put(this.name, key, value)
    if (isNew) this.#open.push(key)
  }

  get #open(): Buffer[] {
    return this.#fresh[this.#fresh.length - 1]!
  }

  override spilled(): void {
    super.spilled()
    this.#open.length = 0
  }

  override beginCommit(): () => void {
    const end = super.beginCommit()
    const committing = this.#open
    this.#fresh.push([])
    return () => {
      end()
      this.#fresh = this.#fresh.filter(each => each !== committing)
    }
  }

  remove(key: Buffer): void {
    this.store.remove(this.name, key)
  }

  /** Every key that may hold a row, committed or not; ask `find` for what it holds now. Some come twice. */
  *keys(): Iterable<Buffer> {
    for (const [key] of this.store.entries(this.name)) yield Buffer.from(key)
    for (const key of this.store.spilledKeys(this.name)) yield Buffer.from(key)
    yield* this.#fresh.flat()
  }
}
