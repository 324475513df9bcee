// How LMDB is opened here: tables of bytes under keys of bytes.
import type { Database, RootDatabase } from 'lmdb'
import { copyBytes } from '../contract/index.ts'

/** Most tables one store can hold; LMDB wants it named at open. */
export const TABLES_MAX = 1_024

export const STORE_OPTIONS = {
  keyEncoding: 'binary',
  encoding: 'binary',
  maxDbs: TABLES_MAX,
  cache: false,
  noSubdir: false,
  // Only our own batches are transactions. With lmdb's own batching a failed commit also rejects a promise nobody holds.
  eventTurnBatching: false,
} as const

export type Table = Database<Buffer, Buffer>

export const openTable = (root: RootDatabase<Buffer, Buffer>, name: string): Table =>
  Object.assign(root.openDB<Buffer, Buffer>({ name, keyEncoding: 'binary', encoding: 'binary', cache: false }), {
    writeKey,
  })

/** In the place of lmdb's own, which sets one array into another: for short keys that costs more than their bytes one by one. */
function writeKey(key: Buffer, target: Uint8Array, at: number): number {
  copyBytes(key, 0, key.length, target, at)
  return at + key.length
}
