// The rows of a view out of a savepoint, for whoever compares them with others of the same cut.
import { ByteReader, type FileSystem, type MainstemError } from '../../core/index.ts'
import { loadRows, type RowSink } from '../checkpoint/load.ts'
import type { CutRows, TakeRow } from '../rows-at-cut.ts'
import type { Turns } from '../shards/scheduler.ts'
import { ALL_GROUPS } from '../state/key-groups.ts'
import type { FoldedView } from '../view.ts'
import type { Savepoint } from './savepoint-file.ts'

export interface SavedIn {
  readonly fs: FileSystem
  readonly folder: string
  readonly savepoint: Savepoint
  readonly turns: Turns
}

export class SavedRows implements CutRows, RowSink {
  readonly #in: SavedIn
  readonly #view: FoldedView
  readonly #reader = new ByteReader(Buffer.alloc(0))
  #end: (() => void) | undefined
  #take: TakeRow = () => {}
  error: MainstemError | undefined

  /** @param view of the same name, by whose keys rows are told · @param end called once when they are not needed any more */
  constructor(saved: SavedIn, view: FoldedView, end: () => void) {
    this.#in = saved
    this.#view = view
    this.#end = end
  }

  takenBy(take: TakeRow): void {
    this.#take = take
  }

  async each(turn: () => Promise<void>): Promise<void> {
    const { fs, folder, savepoint, turns } = this.#in
    await turn()
    const wanted = new Map([[this.#view.name, { sink: this, files: [savepoint.file] }]])
    await loadRows({ fs, folder, logId: savepoint.logId, groups: ALL_GROUPS, turns }, wanted)
  }

  take(bytes: Buffer, from: number, to: number): void {
    const reader = this.#reader
    reader.buffer = bytes
    reader.at = from
    const keyTo = reader.varint() + reader.at
    const keyFrom = reader.at
    reader.at = keyTo
    if (reader.varint() === 0) return
    this.#take(this.#view.table.readKey(bytes, keyFrom, keyTo), Buffer.from(bytes.subarray(keyTo, to)))
  }

  failed(error: MainstemError): void {
    this.error = error
  }

  end(): void {
    this.#end?.()
    this.#end = undefined
  }
}
