// Places in the past, as clients write them: a position, a time, or savepoint:NAME.
import { fail } from '../core/index.ts'
import type { At } from '../projections/index.ts'

/** ISO 8601 with a zone, or a day, which begins at midnight UTC. A `+` that was not percent-encoded has become a space. */
const TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[ +-]\d\d:\d\d))?$/i
const SAVEPOINT = 'savepoint:'

/** @throws AT_MALFORMED */
export function parseAt(text: string): At {
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return { position: Number(text) }
  if (text.startsWith(SAVEPOINT) && text.length > SAVEPOINT.length) return { savepoint: text.slice(SAVEPOINT.length) }
  const timeMs = TIME.test(text) ? Date.parse(text.replace(' ', '+')) : Number.NaN
  if (!Number.isNaN(timeMs)) return { timeMs }
  const detail = /^\d{4}-\d\d-\d\dT/.test(text) ? 'a time needs a zone: Z, or +01:00' : undefined
  throw fail('AT_MALFORMED', `'${text.slice(0, 100)}' is no place in the past`, detail ? { detail } : {})
}

/** A place in the past, for the client in this process: a position, a time (of appending), or a savepoint's name. */
export type AtOption = string | Date | { readonly savepoint: string }

/** @throws AT_MALFORMED */
export function atOf(option: AtOption): At {
  if (typeof option === 'string') return parseAt(option)
  if (!(option instanceof Date)) return { savepoint: option.savepoint }
  if (Number.isNaN(option.getTime())) throw fail('AT_MALFORMED', 'an invalid date is no place in the past')
  return { timeMs: option.getTime() }
}
