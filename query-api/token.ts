// Tokens: what a write gives and a read waits for. Opaque to clients, readable for people:
//   m1.<logId>.log.<position>      an append to the log
//   m1.<logId>.<source>.<payload>  a write in a source's database; the payload is the source's own position
//   <source>:<payload>             the same without the log's id, made where the log is not known (`writeToken`)
//   <digits>                       a position of this log
// A payload is percent-encoded except for `/` and `:`, so that a list of tokens can be separated by commas.
import { fail } from '../core/index.ts'

export type Token =
  | { readonly kind: 'log'; readonly position: number }
  | { readonly kind: 'source'; readonly source: string; readonly position: string }

/** The token of records appended up to `position`. */
export const formatLogToken = (logId: string, position: number): string => `m1.${logId}.log.${position}`

/** The token of a source's own position (an LSN, a GTID). */
export const formatSourceToken = (logId: string, source: string, position: string): string =>
  `m1.${logId}.${source}.${encodeURIComponent(position).replaceAll('%2F', '/').replaceAll('%3A', ':')}`

const malformed = (text: string, detail?: string) =>
  fail('TOKEN_MALFORMED', `'${text.slice(0, 200)}' is not a token`, {
    ...(detail === undefined ? {} : { detail }),
    hint: 'give the token that an append returned, <source>:<position>, or a position of the log',
  })

/**
 * Reads one token; that its source exists and takes the position is for the caller to check.
 * @throws TOKEN_MALFORMED, TOKEN_OTHER_LOG
 */
export function parseToken(text: string, logId: string): Token {
  if (/^\d+$/.test(text)) return { kind: 'log', position: logPosition(text, text) }
  const full = /^m1\.([^.:]+)\.([^.:]+)\.(.+)$/s.exec(text)
  if (full) {
    const [, id = '', name = '', payload = ''] = full
    if (id !== logId) {
      throw fail('TOKEN_OTHER_LOG', 'the token is of another log', {
        detail: `it is of log ${id.slice(0, 100)}, this is log ${logId}`,
        hint: 'a token holds for the log that gave it only: not after the data folder was begun anew, nor in another application',
      })
    }
    if (name === 'log') return { kind: 'log', position: logPosition(payload, text) }
    return { kind: 'source', source: name, position: decoded(payload, text) }
  }
  const colon = text.indexOf(':')
  if (text.startsWith('m1.') || colon < 1 || colon === text.length - 1) throw malformed(text)
  return { kind: 'source', source: text.slice(0, colon), position: decoded(text.slice(colon + 1), text) }
}

function logPosition(digits: string, token: string): number {
  const position = Number(digits)
  if (!/^\d{1,16}$/.test(digits) || !Number.isSafeInteger(position))
    throw malformed(token, `'${digits.slice(0, 50)}' is not a position of a log`)
  return position
}

function decoded(payload: string, token: string): string {
  try {
    return decodeURIComponent(payload)
  } catch {
    throw malformed(token, 'it is not percent-encoded text')
  }
}
