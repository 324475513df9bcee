// How much history of a topic is kept: an option of its declaration.
import { fail } from '../errors.ts'

/**
 * History to keep. Of a topic of events older ones are removed; of a table older changes are compacted to the rows as they are now,
 * and no row is ever lost. Where both are given, history goes as soon as one of them says so. What the newest segment file holds
 * stays until that is closed: when it is full (64 MiB), or something in it is older than `ms`. What a view, since its last checkpoint,
 * or a mirror still needs stays too.
 */
export interface Retain {
  /** Milliseconds since a record was appended: `days(30)`. */
  readonly ms?: number
  /** About so many bytes of the topic, as they are stored. */
  readonly bytes?: number
}

export const minutes = (count: number): number => count * 60_000
export const hours = (count: number): number => count * 3_600_000
export const days = (count: number): number => count * 86_400_000

/** @throws DEFINITION_INVALID */
export function checkRetain(name: string, retain: Retain | undefined): void {
  if (retain === undefined) return
  const { ms, bytes } = retain
  const wrong = [ms, bytes].some(value => value !== undefined && !(value > 0 && Number.isFinite(value)))
  if (!wrong && (ms !== undefined || bytes !== undefined)) return
  throw fail('DEFINITION_INVALID', `${name}: retain says how much history is kept`, {
    detail: `it is ${JSON.stringify(retain)}`,
    hint: 'give { ms: days(30) }, { bytes: 10e9 }, or both; without `retain` all of it is kept',
  })
}
