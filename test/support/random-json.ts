// Values as lines of JSON, written as people and programs write them: spaces, escapes, orders of keys, numbers in any notation, keys
// that nobody knows, keys that come twice; and lines that are damaged.
import type { Random } from './random.ts'

const spaces = (random: Random): string => (random.next() < 0.15 ? random.pick([' ', '  ', '\t', '\r', ' \t']) : '')

/** A value of a contract's input as JSON text. */
export function jsonText(random: Random, value: unknown): string {
  if (typeof value === 'number') return numberText(random, value)
  if (typeof value === 'bigint')
    return random.next() < 0.3 && value < 1_000_000n && value > -1_000_000n ? `${value}` : `"${value}"`
  if (typeof value === 'string') return stringText(random, value)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '"never"' : dateText(random, value)
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString('base64')}"`
  if (value instanceof Map)
    return listText(
      random,
      [...value].map(pair => jsonText(random, pair)),
    )
  if (Array.isArray(value))
    return listText(
      random,
      value.map(item => jsonText(random, item)),
    )
  if (typeof value === 'object' && value !== null) return objectText(random, value as Record<string, unknown>)
  return JSON.stringify(value) ?? 'null'
}

const listText = (random: Random, items: readonly string[]): string =>
  `[${spaces(random)}${items.join(`${spaces(random)},${spaces(random)}`)}${spaces(random)}]`

function objectText(random: Random, value: Record<string, unknown>): string {
  const members = Object.entries(value).filter(([, item]) => item !== undefined)
  if (random.next() < 0.3) members.sort(() => random.next() - 0.5)
  if (random.next() < 0.15) members.splice(random.int(members.length + 1), 0, ['unknown', random.pick(STRANGE)])
  const [first] = members
  if (first && random.next() < 0.05) members.unshift([first[0], random.pick(STRANGE)])
  const texts = members.map(
    ([name, item]) => `${stringText(random, name)}${spaces(random)}:${spaces(random)}${jsonText(random, item)}`,
  )
  return `{${spaces(random)}${texts.join(`${spaces(random)},${spaces(random)}`)}${spaces(random)}}`
}

const STRANGE: readonly unknown[] = [
  null,
  0,
  -0.5e-7,
  'x"y',
  [1, [{ a: {} }]],
  { deep: { er: [true, false, null] } },
  '',
]

/** The same number, as others write it. */
function numberText(random: Random, value: number): string {
  if (!Number.isFinite(value)) return random.pick(['1e999', '-1e999', 'NaN', 'null'])
  const plain = Object.is(value, -0) ? '-0' : String(value)
  if (random.next() < 0.8) return plain
  const other = random.pick([
    value.toExponential(),
    value.toExponential().replace('e', 'E'),
    `${plain}.0`,
    `${plain}e0`,
    `${plain}E+00`,
    value.toFixed(3),
    `0${plain}`,
    `+${plain}`,
    `${plain}.`,
    `${plain}e`,
    `-${plain}`,
  ])
  return other
}

function stringText(random: Random, value: string): string {
  const text = JSON.stringify(value)
  if (random.next() < 0.9) return text
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those that are escaped already
  return text.replace(/[^"\\\u0000-\u001f]/g, c =>
    random.next() < 0.3 && !text.includes('\\') ? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}` : c,
  )
}

function dateText(random: Random, date: Date): string {
  const iso = date.toISOString()
  if (random.next() < 0.8) return `"${iso}"`
  return `"${random.pick([iso.replace(/\.\d+Z$/, 'Z'), iso.slice(0, 10), iso.replace('Z', '+02:00'), iso.replace('T', ' '), `${iso}x`, iso.replace(/\d\dT/, '31T')])}"`
}

/** Bytes of a line with one of them changed, left out or doubled; not so that it becomes two lines. */
export function damagedLine(random: Random, line: Buffer): Buffer {
  const at = random.int(Math.max(1, line.length))
  const byte = random.pick([0, 34, 44, 58, 92, 123, 125, 128, 255, 32 + random.int(95)])
  switch (random.int(3)) {
    case 0:
      return Buffer.concat([line.subarray(0, at), line.subarray(at + 1)])
    case 1:
      return Buffer.concat([line.subarray(0, at), Buffer.from([byte]), line.subarray(at)])
    default:
      return Buffer.concat([line.subarray(0, at), Buffer.from([byte]), line.subarray(at + 1)])
  }
}
