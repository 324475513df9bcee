// What clients send, checked: parameters of the query string and bodies. An unknown parameter is refused, because
// `?afer=` that is ignored gives an answer which looks right.
import { fail, type MainstemError, parseJson } from '../core/index.ts'
import type { At } from '../projections/index.ts'
import type { AgeLimit } from './age-waits.ts'
import { parseAt } from './at.ts'
import { KEYS_MAX, MAX_AGE_MS_MAX, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, TOKENS_MAX, tooMany } from './limits.ts'

export type Query = Readonly<Record<string, string | readonly string[] | undefined>>

const invalid = (message: string, detail?: string, hint?: string) =>
  fail('REQUEST_INVALID', message, {
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  })

/** A parameter whose value is not what it may be. */
export const notValid = (name: string, received: unknown, hint: string): MainstemError =>
  invalid(`'${name}' is not valid`, `received ${JSON.stringify(received)?.slice(0, 100)}`, hint)

/** A parameter as it was sent, percent-encoded, each time that it is there. @param url of the request */
export function rawTexts(url: string, name: string): readonly string[] {
  const query = url.includes('?') ? url.slice(url.indexOf('?') + 1) : ''
  // It may be that its name is percent-encoded; nobody does that.
  const named = query.split('&').filter(part => part === name || part.startsWith(`${name}=`))
  return named.map(part => part.slice(name.length + 1).replaceAll('+', '%20'))
}

/** @param others that the call takes and the query no longer has @throws REQUEST_INVALID for a parameter that is not one of `names` */
export function checkNames(query: Query, names: readonly string[], others: readonly string[] = []): void {
  for (const name of Object.keys(query)) {
    if (names.includes(name)) continue
    const all = [...others, ...names]
    const known = all.length > 0 ? `this call takes ${all.join(', ')}` : 'this call takes no parameters'
    throw invalid(`unknown parameter '${name.slice(0, 100)}'`, undefined, known)
  }
}

/** A whole number out of the query string. @throws REQUEST_INVALID */
export function integer(
  query: Query,
  name: string,
  range: { readonly min: number; readonly max: number; readonly fallback: number },
): number {
  const text = query[name]
  if (text === undefined) return range.fallback
  const value = typeof text === 'string' && /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= range.min && value <= range.max) return value
  throw notValid(name, text, `give one whole number from ${range.min} to ${range.max}`)
}

export interface Waiting {
  /** Tokens, none where the read need not wait. */
  readonly after: readonly string[]
  readonly timeoutMs: number
}

export interface When extends Waiting {
  /** The past that is read; undefined: the present. */
  readonly at: At | undefined
  /** The answer says up to where each source is in it. */
  readonly sources: boolean
  /** How old the answer may be; undefined: as old as it is. It waits for a younger one where a time is given for that. */
  readonly age: AgeLimit | undefined
}

/** @param more parameters that the call takes, for who gave another @throws REQUEST_INVALID, AT_MALFORMED */
export function whenOf(query: Query, more: readonly string[] = []): When {
  checkNames(query, WHEN_NAMES, more)
  const timeoutMs = timeoutOf(query)
  const [after, at] = [tokensOf(query['after']), placeOf(query)]
  if (at !== undefined && after.length > 0)
    throw invalid("'at' and 'after' exclude each other", undefined, 'the past does not change: give one of them')
  const age = ageOf(query, timeoutMs)
  if (at !== undefined && age !== undefined)
    throw invalid("'at' and 'maxAgeMs' exclude each other", undefined, 'the past has no age: give one of them')
  return { after, timeoutMs, at, sources: flag(query, 'sources'), age }
}

/** Parameters of `whenOf`. */
export const WHEN_NAMES: readonly string[] = ['after', 'timeoutMs', 'at', 'sources', 'maxAgeMs']

function ageOf(query: Query, timeoutMs: number): AgeLimit | undefined {
  if (query['maxAgeMs'] === undefined) return undefined
  const maxAgeMs = integer(query, 'maxAgeMs', { min: 0, max: MAX_AGE_MS_MAX, fallback: 0 })
  return query['timeoutMs'] === undefined ? { maxAgeMs } : { maxAgeMs, waitMs: timeoutMs }
}

/** How long to wait for `after`. @throws REQUEST_INVALID */
export const timeoutOf = (query: Query): number =>
  integer(query, 'timeoutMs', { min: 0, max: TIMEOUT_MS_MAX, fallback: TIMEOUT_MS_DEFAULT })

/** What `at` names, if it is there. @throws REQUEST_INVALID, AT_MALFORMED */
export function placeOf(query: Query): At | undefined {
  const at = text(query, 'at')
  return at === undefined ? undefined : parseAt(at)
}

/** @throws REQUEST_INVALID */
export function flag(query: Query, name: string): boolean {
  const given = text(query, name) ?? 'false'
  if (given === 'true' || given === 'false') return given === 'true'
  throw notValid(name, given, 'it is true or false')
}

/** One text out of the query string. @throws REQUEST_INVALID where it is there several times, or empty */
export function text(query: Query, name: string): string | undefined {
  const given = query[name]
  if (given === undefined || (typeof given === 'string' && given !== '')) return given
  throw notValid(name, given, 'give it once')
}

/** Tokens of one or several parameters, each a token or a comma-separated list. @throws REQUEST_INVALID */
export function tokensOf(given: string | readonly string[] | undefined): readonly string[] {
  if (given === undefined) return []
  const texts = (typeof given === 'string' ? [given] : given).flatMap(text => text.split(','))
  if (texts.length > TOKENS_MAX)
    throw invalid(`${texts.length} tokens are too many`, undefined, `give at most ${TOKENS_MAX}`)
  return texts.map(text => text.trim())
}

/** The body's JSON. @throws REQUEST_INVALID */
export function bodyJson(body: unknown): unknown {
  if (typeof body !== 'string' || body.trim() === '') throw invalid('the body is empty', undefined, 'send JSON')
  return parseJson(body, 'the body')
}

/** Of keys, or of what has a key each. @throws REQUEST_INVALID */
export function checkCount(count: number, what?: string): void {
  if (count <= KEYS_MAX) return
  const { title, hint } = tooMany(count, what)
  throw invalid(title, undefined, hint)
}

function member(body: unknown, name: 'keys' | 'reads', example: string): readonly unknown[] {
  const hint = `send ${example}`
  const given = isRecord(body) ? body : undefined
  const list = given?.[name]
  if (!given || !Array.isArray(list)) throw invalid(`the body has no list '${name}'`, undefined, hint)
  const other = Object.keys(given).find(each => each !== name)
  if (other !== undefined) throw invalid(`unknown member '${other.slice(0, 100)}'`, undefined, hint)
  checkCount(list.length, name)
  return list
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** `{ keys: […] }`. @throws REQUEST_INVALID */
export const keysOf = (body: unknown): readonly unknown[] => member(body, 'keys', '{"keys": [1, 2, 3]}')

/** `{ reads: [{ view, key }…] }`. @throws REQUEST_INVALID */
export function readsOf(body: unknown): readonly { readonly view: string; readonly key: unknown }[] {
  const example = '{"reads": [{"view": "accounts", "key": 42}]}'
  return member(body, 'reads', example).map((read, n) => {
    if (!isRecord(read) || typeof read['view'] !== 'string' || read['key'] === undefined) {
      throw invalid(`read ${n} is not a view and a key`, undefined, `send ${example}`)
    }
    const other = Object.keys(read).find(each => each !== 'view' && each !== 'key')
    if (other !== undefined)
      throw invalid(`read ${n} has an unknown member '${other.slice(0, 100)}'`, undefined, `send ${example}`)
    return { view: read['view'], key: read['key'] }
  })
}
