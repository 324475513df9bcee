// One table's part of the mirror: the current accepted row of each key, and what is parked.
// A stored value = 4 bytes epoch (the snapshot that last saw the row) + the contract's stored form of the row.
import { type AnyRow, ByteReader, ByteWriter, type ObjectContract, Span } from '../contract/index.ts'
import type { LogTopic } from '../log/index.ts'
import type { TableStore } from '../state/index.ts'
import { ParkedRows } from './parked-rows.ts'

const EPOCH_BYTES = 4

/** One table's part of the mirror. */
export class MirrorTable extends ParkedRows {
  readonly contract: ObjectContract
  readonly #writer = new ByteWriter()
  readonly #reader = new ByteReader(Buffer.alloc(0))
  readonly #found = new Span()
  readonly #written = new Span()

  constructor(store: TableStore, contract: ObjectContract, topic: LogTopic) {
    super(store, topic)
    this.contract = contract
  }

  /** The stored value of a key: a copy. */
  find(key: Buffer): Buffer | undefined {
    return this.store.get(this.name, key)
  }

  /** The row's own bytes of a key's stored value where they stand: valid until the next call of this store's. */
  look(key: Buffer): Span | undefined {
    const found = this.store.look(this.name, key)
    return found && this.#found.set(found.buffer, found.from + EPOCH_BYTES, found.to)
  }

  row(stored: Buffer): AnyRow {
    return this.rowOf(this.rowBytes(stored))
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

  /** Begins a value, to which the row's stored form is to be appended: one object for all of them. */
  begin(epoch: number): ByteWriter {
    const writer = this.#writer
    writer.at = EPOCH_BYTES
    writer.buffer.writeUInt32LE(epoch, 0)
    return writer
  }

  /** The row's own bytes of a value that is being written: valid as long as it is. */
  written(value: ByteWriter): Span {
    return this.#written.set(value.buffer, EPOCH_BYTES, value.at)
  }

  /** The value of a row. @throws RECORD_REFUSED */
  encode(row: AnyRow, epoch: number): ByteWriter {
    const writer = this.begin(epoch)
    this.contract.codec.encode(writer, row)
    return writer
  }

  put(key: Buffer, value: ByteWriter): void {
    this.store.put(this.name, key, value.buffer, 0, value.at)
  }

  /** The same of a value that `find` gave, or a part of a buffer. */
  putStored(key: Buffer, stored: Buffer, from = 0, to = stored.length): void {
    this.store.put(this.name, key, stored, from, to)
  }

  remove(key: Buffer): void {
    this.store.remove(this.name, key)
  }

  /** Every key that may hold a row, committed or not; ask `find` for what it holds now. Some come twice. */
  *keys(): Iterable<Buffer> {
    // First: what is written and committed meanwhile may stand before the place that a walk has come to.
    const written = [...this.store.writtenKeys(this.name)].map(key => Buffer.from(key))
    for (const [key] of this.store.entries(this.name)) yield Buffer.from(key)
    yield* written
  }
}
