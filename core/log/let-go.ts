// Memory outside of V8's heap that is given back when it is done with: left to the collector, a reader's blocks force it to go
// over the whole heap every few million records, for their sake alone.

import { fail } from '../errors.ts'

/** What zlib leaves free behind the bytes that it was asked for, at most. */
const ROOM_BEHIND_MAX = 64

/**
 * Gives a buffer's memory back: from now on it has no bytes, and views of it have none. Of one that shares its memory with others
 * nothing is given back.
 */
export function letGo(buffer: Buffer): void {
  const memory = buffer.buffer
  if (memory.byteLength > buffer.length + ROOM_BEHIND_MAX) return
  if (memory instanceof ArrayBuffer && !memory.detached) memory.transfer(0)
}

/** What a block says that was let go. */
export const blockGone = () =>
  fail('CURSOR_EXPIRED', 'a block of the log was used after the next ones were read', {
    hint: 'read without `lent` what is kept for longer',
  })
