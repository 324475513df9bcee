// Conditional reads of rows. An ETag stands for a row's value, not for its position: rows do not carry where they last changed, which
// would cost each of them a word of memory, and folding a write. It is weak: what an answer says of its position and age is not in it.
// 64 bits, which begin with a number that nobody knows, so that nobody makes values that look alike; another start gives other ones.
import { randomInt } from 'node:crypto'

const SEEDS = [randomInt(2 ** 32), randomInt(2 ** 32)] as const

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_'
/** Any two of them: looked up, since making a text of a number takes V8 as long as hashing a row. */
const PAIRS = Array.from({ length: 64 * 64 }, (_, n) => DIGITS.charAt(n >> 6) + DIGITS.charAt(n & 63))
const text = (hash: number) => `${PAIRS[hash >>> 20]}${PAIRS[(hash >>> 8) & 4095]}${PAIRS[hash & 255]}`

/** Of a value's JSON. */
export function etagOf(json: string): string {
  let [one, two] = SEEDS as readonly [number, number]
  for (let n = 0; n < json.length; n++) {
    const code = json.charCodeAt(n)
    one = Math.imul(one ^ code, 0x9e3779b1)
    one ^= one >>> 15
    two = Math.imul(two ^ code, 0x85ebca6b)
    two ^= two >>> 13
  }
  return `W/"${text(one)}${text(two)}"`
}

/** Whether a client has it already, by its `If-None-Match`. */
export function hasIt(ifNoneMatch: string, etag: string): boolean {
  const plain = (tag: string) => tag.trim().replace(/^W\//, '')
  return ifNoneMatch.split(',').some(tag => tag.trim() === '*' || plain(tag) === plain(etag))
}
