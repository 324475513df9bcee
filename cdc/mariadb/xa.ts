// XA transactions. One that is prepared stands in the binary log with all its rows, before it is known whether it will be committed;
// they are kept here until then, and the source's position names it, so that a restart reads it again.
import { fail } from '../../core/index.ts'
import type { Captured } from '../connector/changes.ts'
import type { RowsEvent } from './binlog.ts'
import type { Gtid } from './gtid.ts'
import type { ImageReader } from './images.ts'
import type { StreamedOutbox } from './outbox.ts'

/** What rows of a table are here: those of a captured table, an outbox's, or both. */
export interface RowsMeaning {
  readonly images: ImageReader
  readonly captured: Captured | undefined
  readonly outbox: StreamedOutbox | undefined
}

export interface XaRows {
  readonly meaning: RowsMeaning
  /** With bytes of its own. */
  readonly event: RowsEvent
}

interface Prepared {
  readonly gtid: Gtid
  readonly rows: readonly XaRows[]
}

export class XaTransactions {
  readonly #source: string
  readonly #bytesMax: number
  readonly #prepared = new Map<string, Prepared>()
  #collecting: XaRows[] | undefined
  #xid = ''
  #bytes = 0

  /** @param bytesMax of all rows that are kept */
  constructor(source: string, bytesMax: number) {
    this.#source = source
    this.#bytesMax = bytesMax
  }

  /** Those that changed captured tables, by their GTIDs. */
  get open(): readonly Gtid[] {
    return [...this.#prepared.values()].map(({ gtid }) => gtid)
  }

  get isCollecting(): boolean {
    return this.#collecting !== undefined
  }

  begin(): void {
    this.#collecting = []
  }

  /** @throws SOURCE_VALUE_TOO_LARGE */
  add(rows: XaRows): void {
    this.#collecting?.push(rows)
    this.#bytes += rows.event.bytes.length
    if (this.#bytes <= this.#bytesMax) return
    throw fail('SOURCE_VALUE_TOO_LARGE', `prepared XA transactions of ${this.#source} are too large to be kept`, {
      detail: `rows of more than ${this.#bytesMax >> 20} MiB wait for XA COMMIT`,
      hint: 'finish them (XA RECOVER lists them), or raise `messageMiBMax` of the source',
    })
  }

  /** The name by which it is committed. */
  end(xid: string): void {
    this.#xid = xid
  }

  /** @param isOpen false where it is known to have been finished since */
  prepared(gtid: Gtid, isOpen: boolean): void {
    const rows = this.#collecting ?? []
    this.#collecting = undefined
    if (isOpen && rows.length > 0) this.#prepared.set(this.#xid, { gtid, rows })
    else this.#forget(rows)
  }

  /** Its rows, of which the caller is the last to know. */
  take(xid: string): readonly XaRows[] {
    const rows = this.#prepared.get(xid)?.rows ?? []
    this.#prepared.delete(xid)
    this.#forget(rows)
    return rows
  }

  #forget(rows: readonly XaRows[]): void {
    for (const { event } of rows) this.#bytes -= event.bytes.length
  }
}
