// The head of a plain GET as HTTP clients send it (RFC 9112): a path, HTTP/1.1, and headers that change nothing about how a row is
// answered. All else is not plain, and not wrong either: Node's parser reads it, and says what is wrong with it. So this one may be strict.

/** What the headers of a request say that its answer depends on. */
export interface PlainHeaders {
  readonly authorization: string | undefined
}

/** Far below what Node takes: a larger head is unusual, and looked at by that. */
const BYTES_MAX = 8_192
/** With the blank line that ends it. */
const END = '\r\n\r\n'
const METHOD = 'GET '
const VERSION = ' HTTP/1.1'
/** A name is a token, a value visible characters, blanks and tabs. */
const HEADER = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/
/** Where one of these is sent, the answer is not the row, or a body follows, or the connection becomes another one. */
const NOT_PLAIN = new Set([
  'content-length',
  'expect',
  'http2-settings',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'keep-alive',
  'proxy-connection',
  'range',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Requests of one connection: their headers are the same ones as a rule, and are then looked at once. */
export class RequestHeads {
  #headers = ''
  #plain: PlainHeaders | undefined

  /**
   * The request's target, where the bytes are one plain GET, no more and no less, of a path that begins so; its headers are `headers` then.
   * Undefined where they are not.
   */
  target(bytes: Buffer, path: string): string | undefined {
    if (bytes.length > BYTES_MAX) return undefined
    const text = bytes.toString('latin1')
    if (!text.startsWith(METHOD) || !text.startsWith(path, METHOD.length)) return undefined
    const line = text.indexOf('\r\n')
    const end = line - VERSION.length
    if (line < 0 || !text.startsWith(VERSION, end)) return undefined
    const target = text.slice(METHOD.length, end)
    const headers = text.slice(line)
    if (headers !== this.#headers) {
      this.#plain = plainHeaders(headers)
      this.#headers = headers
    }
    return this.#plain && target
  }

  get headers(): PlainHeaders {
    return this.#plain!
  }
}

/** @param text from the end of the request line on */
function plainHeaders(text: string): PlainHeaders | undefined {
  if (text.indexOf(END) !== text.length - END.length) return undefined
  const known = new Map<string, string>()
  for (const line of text.slice(2, -END.length).split('\r\n')) {
    const [, name = '', value = ''] = HEADER.exec(line) ?? []
    const lower = name.toLowerCase()
    if (lower === '' || NOT_PLAIN.has(lower)) return undefined
    if (lower !== 'host' && lower !== 'authorization' && lower !== 'connection') continue
    if (known.has(lower)) return undefined
    known.set(lower, value)
  }
  if (!known.has('host') || (known.get('connection') ?? 'keep-alive').toLowerCase() !== 'keep-alive') return undefined
  return { authorization: known.get('authorization') }
}
