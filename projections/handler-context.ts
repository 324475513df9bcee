// The `ctx` of all handlers of one view, and what of the record at hand it knows.
import { fail, type KeyCodec, type Position } from '../core/index.ts'
import type { Context } from './projection.ts'
import type { Emissions } from './publish/emissions.ts'
import type { StateTable } from './state/state-table.ts'

/** What a handler call is about: set by the shard for each record. */
export interface RecordInfo {
  position: number
  timeMs: number
  /** When its transaction was appended to the log, milliseconds since 1970. */
  appendTimeMs?: number
}

export class HandlerContext implements Context {
  readonly info: RecordInfo
  readonly #table: StateTable
  readonly #codec: KeyCodec
  readonly #emissions: Emissions
  /** The row whose handler runs; −1 while none is chosen. */
  row = -1
  /** True where the call has done what `takeDeleted` ends. */
  used = false
  #deleted = false
  #draws = 0

  constructor(info: RecordInfo, table: StateTable, codec: KeyCodec, emissions: Emissions) {
    this.info = info
    this.#table = table
    this.#codec = codec
    this.#emissions = emissions
  }

  get key(): unknown {
    return this.row < 0 ? undefined : this.#table.keyOf(this.row)
  }

  get position(): Position {
    return String(this.info.position) as Position
  }

  get timeMs(): number {
    return this.info.timeMs
  }

  /** Mixes (position, key, how many draws before this one in the handler's call), as MurmurHash3 ends. */
  random(): number {
    let seed = (this.info.position ^ hashBytes(this.#codec.encode(this.key))) >>> 0
    this.used = true
    seed = Math.imul(seed ^ Math.floor(this.info.position / 0x100000000), 0x9e3779b1) + ++this.#draws
    seed = Math.imul(seed ^ (seed >>> 16), 0x85ebca6b)
    seed = Math.imul(seed ^ (seed >>> 13), 0xc2b2ae35)
    return ((seed ^ (seed >>> 16)) >>> 0) / 0x100000000
  }

  emit(topic: { readonly name: string }, value: unknown): void {
    const table = this.#table
    if (table.at.base < 0) throw fail('CURSOR_EXPIRED', 'ctx.emit was called after its handler returned')
    this.#emissions.emit(topic, value, this.info.position, table.idOf(this.row))
  }

  delete(): void {
    this.used = true
    this.#deleted = true
  }

  /** Ends a handler's call: whether it deleted its row. */
  takeDeleted(): boolean {
    const deleted = this.#deleted
    this.#deleted = this.used = false
    this.#draws = 0
    return deleted
  }
}

function hashBytes(bytes: Buffer): number {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash
}
