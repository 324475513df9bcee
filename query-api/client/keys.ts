// Keys in URLs and bodies. How a key of several fields is written depends on the order in which the application declares them, and
// how a key that comes back is read on its types: the application is asked for both once per view or decider, where they are needed.
import { KEYS_MAX, tooMany } from '../limits.ts'
import type { Calls } from './calls.ts'
import { ClientError, invalid } from './client-error.ts'
import { base64Of, bytesOf } from './revive.ts'

interface Column {
  readonly name: string
  /** Kind of its type: `bigint`, `date`, `bytes`, or what JSON says anyway. */
  readonly type: string
}

export class Keys {
  readonly #calls: Calls
  readonly #path: string
  #columns: Promise<readonly Column[]> | undefined

  /** @param path of what has the keys: `/v1/views/accounts` */
  constructor(calls: Calls, path: string) {
    this.#calls = calls
    this.#path = path
  }

  /** A key as it stands in a URL. @throws KEY_MALFORMED; as the application */
  async text(key: unknown, signal?: AbortSignal): Promise<string> {
    if (!isComposite(key)) return scalarText(key)
    const columns = await this.#known(signal)
    return columns.map(({ name }) => scalarText(key[name])).join(',')
  }

  /** The beginning of a key, as it stands in a URL. @throws REQUEST_INVALID for fields that are not the leading ones */
  async prefix(prefix: unknown, signal?: AbortSignal): Promise<string> {
    if (!isComposite(prefix)) return scalarText(prefix)
    const columns = await this.#known(signal)
    const leading = columns.slice(0, Object.keys(prefix).length)
    if (leading.length === 0 || leading.some(({ name }) => prefix[name] === undefined))
      throw invalid(
        'a prefix of a key has its leading fields',
        `they are ${columns.map(({ name }) => name).join(', ')}, in this order`,
      )
    // With a comma at its end one field whose text has a comma is told from two.
    return `${leading.map(({ name }) => scalarText(prefix[name])).join(',')},`
  }

  /** Reads keys as JSON carries them. */
  async reader(signal?: AbortSignal): Promise<(json: unknown) => unknown> {
    const columns = await this.#known(signal)
    return json => {
      if (typeof json !== 'object' || json === null) return keyValue(columns[0]?.type, json)
      const fields = json as Readonly<Record<string, unknown>>
      return Object.fromEntries(columns.map(({ name, type }) => [name, keyValue(type, fields[name])]))
    }
  }

  #known(signal: AbortSignal | undefined): Promise<readonly Column[]> {
    this.#columns ??= this.#ask(signal)
    return this.#columns
  }

  async #ask(signal: AbortSignal | undefined): Promise<readonly Column[]> {
    try {
      const { body } = await this.#calls.json({ path: this.#path, safe: true, signal })
      return (body as { readonly key: readonly Column[] }).key
    } catch (error) {
      this.#columns = undefined
      throw error
    }
  }
}

/** @throws REQUEST_INVALID */
export function checkKeys(keys: readonly unknown[]): void {
  if (keys.length <= KEYS_MAX) return
  const { title, hint } = tooMany(keys.length)
  throw invalid(title, hint)
}

/** A text that can be a segment of a path: URLs lose the others. */
export const isSegment = (text: string): boolean => text !== '' && text !== '.' && text !== '..'

export const isComposite = (key: unknown): key is Readonly<Record<string, unknown>> =>
  typeof key === 'object' && key !== null && !(key instanceof Date) && !(key instanceof Uint8Array)

/** A value of a key as it stands in a URL. @throws KEY_MALFORMED */
export function scalarText(value: unknown): string {
  const text = plainText(value)
  if (text !== undefined) return encodeURIComponent(text)
  throw new ClientError({
    title: 'this can be no key',
    code: 'KEY_MALFORMED',
    status: 400,
    retriable: false,
    detail: whyNoText(value),
  })
}

/** A value as a parameter of a query carries it, which encodes it itself; undefined for what no key or field can be. */
export function plainText(value: unknown): string | undefined {
  if (value instanceof Uint8Array) return base64Of(value)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString()
  const isText = typeof value === 'string' && value.isWellFormed()
  return isText || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean'
    ? String(value)
    : undefined
}

/** Of what `plainText` does not take. */
export function whyNoText(value: unknown): string {
  if (typeof value === 'string') return 'the text is not of whole characters'
  return `received ${value === null ? 'null' : value instanceof Date ? 'an invalid date' : typeof value}`
}

function keyValue(type: string | undefined, json: unknown): unknown {
  if (typeof json !== 'string') return json
  if (type === 'bigint') return BigInt(json)
  if (type === 'date') return new Date(json)
  return type === 'bytes' ? bytesOf(json) : json
}
