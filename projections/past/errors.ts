// What can be wrong with a read of the past.
import { fail, type MainstemError } from '../../core/index.ts'

export const atTooFar = (records: number, most: number): MainstemError =>
  fail('AT_TOO_FAR', 'too many records would have to be folded for this read of the past', {
    detail: `at least ${records}; the limit is ${most}`,
    data: { records, recordsMax: most },
  })

export const atAhead = (what: string, end: number): MainstemError =>
  fail('AT_AHEAD', `${what} is beyond the log`, { detail: `it ends at position ${end}`, data: { end: String(end) } })

/** @param horizon position from which on it can be had, where that is known */
export const atGone = (view: string, detail: string, horizon: number | null): MainstemError =>
  fail('AT_GONE', `the past of view '${view}' that is asked for is gone`, {
    detail,
    data: { view, horizon: horizon === null ? null : String(horizon) },
  })
