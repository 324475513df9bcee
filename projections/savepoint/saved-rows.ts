// The rows of a view out of a savepoint, for whoever compares them with others of the same cut.
import { ByteReader, type FileSystem, type MainstemError } from '../../core/index.ts'
import { loadRows, type RowSink, type RowsWanted } from '../checkpoint/load.ts'
import type { CutRows, TakeRow } from '../rows-at-cut.ts'
import type { Turns } from '../shards/scheduler.ts'
import { type DeadLetter, DeadLetters } from '../skip/dead-letters.ts'
import { LettersSink, lettersName } from '../skip/letters-file.ts'
import { ALL_GROUPS } from '../state/key-groups.ts'
import { StateMemory } from '../state/memory.ts'
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
  #letters: DeadLetters | undefined
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
    const { name, deadLetters } = this.#view
    const files = [savepoint.file]
    const wanted = new Map<string, RowsWanted>([[name, { sink: this, files }]])
    this.#letters = deadLetters && new DeadLetters(name, deadLetters.max, new StateMemory())
    const sink = this.#letters && new LettersSink(this.#letters)
    if (sink) wanted.set(lettersName(name), { sink, files })
    await loadRows({ fs, folder, logId: savepoint.logId, groups: ALL_GROUPS, turns }, wanted)
    this.error ??= sink?.error
  }

  get letters(): readonly DeadLetter[] | undefined {
    return this.#letters?.list()
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
