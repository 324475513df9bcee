// Keys in URLs and bodies. How a key of several fields is written depends on the order in which the application declares them, and
// how a key that comes back is read on its types: the application is asked for both once per view, where they are needed.
import type { Calls } from './calls.ts'
import { ClientError } from './client-error.ts'
import { base64Of, bytesOf } from './revive.ts'

interface Column {
  readonly name: string
  /** Kind of its type: `bigint`, `date`, `bytes`, or what JSON says anyway. */
  readonly type: string
}

export class ViewKeys {
  readonly #calls: Calls
  readonly #path: string
  #columns: Promise<readonly Column[]> | undefined

  constructor(calls: Calls, view: string) {
    this.#calls = calls
    this.#path = `/v1/views/${encodeURIComponent(view)}`
  }

  /** A key, or leading fields of one, as it stands in a URL. */
  async text(key: unknown, signal?: AbortSignal): Promise<string> {
    if (!isComposite(key)) return scalarText(key)
    const columns = await this.#known(signal)
    const given = columns.filter(({ name }) => key[name] !== undefined)
    return given.map(({ name }) => scalarText(key[name])).join(',')
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

/** A text that can be a segment of a path: URLs lose the others. */
export const isSegment = (text: string): boolean => text !== '' && text !== '.' && text !== '..'

export const isComposite = (key: unknown): key is Readonly<Record<string, unknown>> =>
  typeof key === 'object' && key !== null && !(key instanceof Date) && !(key instanceof Uint8Array)

/** @throws KEY_MALFORMED for a text that is not of whole characters */
export function scalarText(value: unknown): string {
  const text = plainText(value)
  if (text.isWellFormed()) return encodeURIComponent(text)
  throw new ClientError({
    title: 'a key is not a text of whole characters',
    code: 'KEY_MALFORMED',
    status: 400,
    retriable: false,
  })
}

/** A value as a parameter of a query carries it, which encodes it itself. */
export const plainText = (value: unknown): string =>
  value instanceof Date ? value.toISOString() : value instanceof Uint8Array ? base64Of(value) : String(value)

function keyValue(type: string | undefined, json: unknown): unknown {
  if (typeof json !== 'string') return json
  if (type === 'bigint') return BigInt(json)
  if (type === 'date') return new Date(json)
  return type === 'bytes' ? bytesOf(json) : json
}
