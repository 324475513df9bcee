// Dead letters in a checkpoint: rows of their own beside those of their view, in the same file, by the same key groups, so that
// they go to whoever has the row that they are about.
import { deserialize, serialize } from 'node:v8'
import { ByteReader, type MainstemError } from '../../core/index.ts'
import type { RowSink } from '../checkpoint/load.ts'
import type { OpenChunk } from '../checkpoint/row-file-writer.ts'
import type { DeadLetter, DeadLetters } from './dead-letters.ts'

/** No view has such a name. */
export const lettersName = (view: string): string => `${view} dead letters`

/** How many calls were skipped stands under this id. */
const TOTAL = 'total'

/** Writes those that changed since the last checkpoint, or all. @param firstHash least hash of the keys that are here */
export function saveLetters(letters: DeadLetters, chunk: OpenChunk, all: boolean, firstHash: number): void {
  const { changed, total } = letters.begin(all)
  if (total !== undefined) write(chunk, `${TOTAL} ${firstHash}`, firstHash, serialize(total))
  for (const { id, letter, last } of changed)
    if (letter !== undefined) write(chunk, id, letter.keyHash, serialize(letter))
    else if (!all) write(chunk, id, last.keyHash, undefined)
}

function write(chunk: OpenChunk, id: string, keyHash: number, body: Uint8Array | undefined): void {
  const { writer } = chunk
  writer.string(id)
  writer.varint(body === undefined ? 0 : 1)
  if (body !== undefined) writer.raw(Buffer.from(body.buffer, body.byteOffset, body.length))
  chunk.endRow(keyHash)
}

/** Takes letters back from the newest to the oldest. */
export class LettersSink implements RowSink {
  readonly #letters: DeadLetters
  readonly #seen = new Set<string>()
  readonly #reader = new ByteReader(Buffer.alloc(0))
  error: MainstemError | undefined

  constructor(letters: DeadLetters) {
    this.#letters = letters
  }

  take(bytes: Buffer, from: number, to: number): void {
    const reader = this.#reader
    reader.buffer = bytes
    reader.at = from
    const id = reader.string()
    if (this.#seen.has(id)) return
    this.#seen.add(id)
    if (reader.varint() === 0) return
    const value: unknown = deserialize(bytes.subarray(reader.at, to))
    if (id.startsWith(TOTAL)) this.#letters.total += value as number
    else this.#letters.restore(value as DeadLetter)
  }

  failed(error: MainstemError): void {
    this.error = error
  }
}
