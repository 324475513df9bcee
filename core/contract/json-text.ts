// JSON where it stands in bytes, token by token, without objects. What is undefined (or NaN) was not read: the text is wrong, or
// of a kind that is left to JSON.parse. What is accepted, JSON.parse accepts with the same value. The bytes are valid UTF-8
// (whoever fills the buffer has looked), and zeros follow them, so that reading beyond ends nowhere.

const QUOTE = 34
const BACKSLASH = 92
const ZERO = 48

/** Reading beyond the text by so many bytes is safe: what literals are compared with is shorter. */
export const TEXT_PADDING = 1024
/** Values within values that are followed; deeper ones are left to JSON.parse. */
const DEPTH_MAX = 64
/** Up to so many digits a mantissa, and up to so many powers of ten, are exact: one rounding gives the nearest number. */
const EXACT_DIGITS = 15
const EXACT_POWERS = Array.from({ length: 23 }, (_, n) => 10 ** n)

export class JsonText {
  readonly buffer: Buffer
  readonly view: DataView
  /** What `number` and `value` have read ends here. */
  end = 0
  /** Where `escaped` and `write` have put a text, and its length in bytes. */
  at = 0
  length = 0
  /** Room behind the text, for texts that do not stand in it as they are. */
  #room: number
  readonly #roomEnd: number

  /** @param room where the room for unescaped texts begins; the last TEXT_PADDING bytes stay as they are */
  constructor(buffer: Buffer, room: number) {
    this.buffer = buffer
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
    this.#room = room
    this.#roomEnd = buffer.length - TEXT_PADDING
  }

  /** The number at `p`; NaN where there is none. */
  number(p: number): number {
    const b = this.buffer
    let q = p
    const negative = b[q] === 45
    if (negative) q++
    let mantissa = 0
    let digits = 0
    let power = 0
    let c = b[q]! - ZERO
    const whole = q
    while (c >= 0 && c <= 9) {
      if (digits < EXACT_DIGITS) mantissa = mantissa * 10 + c
      if (digits > 0 || c > 0) digits++
      c = b[++q]! - ZERO
    }
    if (q === whole || (q > whole + 1 && b[whole] === ZERO)) return Number.NaN
    if (c === -2) {
      const from = q + 1
      for (c = b[++q]! - ZERO; c >= 0 && c <= 9; c = b[++q]! - ZERO) {
        if (digits < EXACT_DIGITS) mantissa = mantissa * 10 + c
        if (digits > 0 || c > 0) digits++
        power--
      }
      if (q === from) return Number.NaN
    }
    if (c === 53 || c === 21) {
      c = b[++q]!
      const minus = c === 45
      if (minus || c === 43) q++
      const from = q
      let exponent = 0
      for (c = b[q]! - ZERO; c >= 0 && c <= 9; c = b[++q]! - ZERO) if (exponent < 10_000) exponent = exponent * 10 + c
      if (q === from) return Number.NaN
      power += minus ? -exponent : exponent
    }
    this.end = q
    if (digits > EXACT_DIGITS || power > 22 || power < -22) return Number(b.toString('latin1', p, q))
    const value = power < 0 ? mantissa / EXACT_POWERS[-power]! : mantissa * EXACT_POWERS[power]!
    return negative ? -value : value
  }

  /** Passes over whitespace within a line. */
  space(p: number): number {
    const b = this.buffer
    let q = p
    let c = b[q]
    while (c === 32 || c === 9 || c === 13) c = b[++q]
    return q
  }

  /** Unescapes the text whose quote is at `p` into the room behind; gives the place after it. */
  escaped(p: number): number | undefined {
    const q = this.#string(p)
    if (q === undefined) return undefined
    const text = JSON.parse(this.buffer.toString('utf8', p, q)) as string
    return this.write(text) ? q : undefined
  }

  /** Puts a text into the room behind; false where there is none left, or for half of a surrogate pair. */
  write(text: string): boolean {
    const most = text.length * 3
    if (this.#room + most > this.#roomEnd || !text.isWellFormed()) return false
    this.at = this.#room
    this.length = this.buffer.write(text, this.#room, most, 'utf8')
    this.#room += this.length
    return true
  }

  /** The value at `p`, whatever it is; undefined where it is none. */
  value(p: number): unknown {
    const c = this.buffer[p]
    if (c === 45 || (c !== undefined && c >= ZERO && c <= 57)) {
      const number = this.number(p)
      return Number.isNaN(number) ? undefined : number
    }
    const q = this.skip(p)
    if (q === undefined) return undefined
    this.end = q
    return JSON.parse(this.buffer.toString('utf8', p, q))
  }

  /** Passes over the value at `p`, and sees that it is one. */
  skip(p: number, depth = 0): number | undefined {
    const c = this.buffer[p]
    switch (c) {
      case QUOTE:
        return this.#string(p)
      case 123:
      case 91:
        return depth < DEPTH_MAX ? this.#skipWithin(p, c + 2, depth) : undefined
      case 116:
        return this.#isWord(p, 'true') ? p + 4 : undefined
      case 102:
        return this.#isWord(p, 'false') ? p + 5 : undefined
      case 110:
        return this.#isWord(p, 'null') ? p + 4 : undefined
      default:
        return Number.isNaN(this.number(p)) ? undefined : this.end
    }
  }

  #isWord(p: number, word: string): boolean {
    for (let n = 0; n < word.length; n++) if (this.buffer[p + n] !== word.charCodeAt(n)) return false
    return true
  }

  /** An object or array, by what closes it. */
  #skipWithin(p: number, close: number, depth: number): number | undefined {
    const b = this.buffer
    let q: number | undefined = this.space(p + 1)
    if (b[q] === close) return q + 1
    for (;;) {
      if (close === 125) {
        q = b[q] === QUOTE ? this.#string(q) : undefined
        if (q === undefined) return undefined
        q = this.space(q)
        if (b[q] !== 58) return undefined
        q = this.space(q + 1)
      }
      q = this.skip(q, depth + 1)
      if (q === undefined) return undefined
      q = this.space(q)
      if (b[q] === close) return q + 1
      if (b[q] !== 44) return undefined
      q = this.space(q + 1)
    }
  }

  /** Passes over the text whose quote is at `p`. */
  #string(p: number): number | undefined {
    const b = this.buffer
    for (let q = p + 1; ; q++) {
      const c = b[q]!
      if (c === QUOTE) return q + 1
      if (c < 32) return undefined
      if (c !== BACKSLASH) continue
      const kind = b[++q]!
      if (kind === 117) {
        for (let n = 1; n <= 4; n++) if (!isHex(b[q + n]!)) return undefined
        q += 4
      } else if (!isEscape(kind)) return undefined
    }
  }
}

const isHex = (c: number): boolean => (c >= ZERO && c <= 57) || ((c | 32) >= 97 && (c | 32) <= 102)

/** `"` `\` `/` b f n r t */
const isEscape = (c: number): boolean =>
  c === QUOTE || c === BACKSLASH || c === 47 || c === 98 || c === 102 || c === 110 || c === 114 || c === 116

/**
 * Milliseconds of an ISO text in UTC (`2026-11-29T08:52:55Z`, with or without milliseconds) that stands from `from` to `to`; NaN where it
 * is in another form, or a day that not every month has.
 */
export function isoTime(b: Buffer, from: number, to: number): number {
  const long = to - from === 24
  if (!long && to - from !== 20) return Number.NaN
  const year = two(b, from) * 100 + two(b, from + 2)
  const month = two(b, from + 5)
  const day = two(b, from + 8)
  const [hour, minute, second] = [two(b, from + 11), two(b, from + 14), two(b, from + 17)]
  const ms = long ? (b[from + 20]! - ZERO) * 100 + two(b, from + 21) : 0
  const marks =
    b[from + 4] === 45 &&
    b[from + 7] === 45 &&
    b[from + 10] === 84 &&
    b[from + 13] === 58 &&
    b[from + 16] === 58 &&
    b[to - 1] === 90 &&
    (!long || (b[from + 19] === 46 && b[from + 20]! >= ZERO && b[from + 20]! <= 57))
  const ranges =
    year >= 0 &&
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= 28 &&
    hour < 24 &&
    minute < 60 &&
    second < 60 &&
    ms >= 0
  if (!marks || !ranges || !(hour >= 0 && minute >= 0 && second >= 0)) return Number.NaN
  return daysOf(year, month, day) * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1_000 + ms
}

/** Two digits; far below zero where they are none. */
function two(b: Buffer, at: number): number {
  const [high, low] = [b[at]! - ZERO, b[at + 1]! - ZERO]
  return high >= 0 && high <= 9 && low >= 0 && low <= 9 ? high * 10 + low : -1e6
}

/** Days since 1970, after Howard Hinnant's `days_from_civil`. */
export function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const ofEra = y - era * 400
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  return era * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468
}
