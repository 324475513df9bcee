// PostgreSQL's own text forms: bytea and arrays.
import { Unrepresentable } from '../connector/text-values.ts'

/** bytea's hex form. */
export function parseBytea(text: string): Uint8Array {
  if (!text.startsWith('\\x')) throw new Unrepresentable('bytea is not in hex form')
  return new Uint8Array(Buffer.from(text.slice(2), 'hex'))
}

/** `{1,NULL,"a\"b",{…}}` → nested arrays of what `element` makes of each text. */
export function parseArray(text: string, element: (text: string) => unknown): unknown[] {
  if (!text.startsWith('{')) throw new Unrepresentable(`the array has bounds of its own: ${text.slice(0, 40)}`)
  const place = { at: 0 }
  return readList(text, place, element)
}

function readList(text: string, place: { at: number }, element: (text: string) => unknown): unknown[] {
  const items: unknown[] = []
  place.at++
  if (text[place.at] === '}') {
    place.at++
    return items
  }
  for (;;) {
    const first = text[place.at]
    if (first === '{') items.push(readList(text, place, element))
    else if (first === '"') items.push(element(readQuoted(text, place)))
    else items.push(readBare(text, place, element))
    const next = text[place.at++]
    if (next === '}') return items
    if (next !== ',') throw new Unrepresentable('the array ends early')
  }
}

function readQuoted(text: string, place: { at: number }): string {
  let value = ''
  let from = place.at + 1
  for (let at = from; at < text.length; at++) {
    const char = text[at]
    if (char === '\\') {
      value += text.slice(from, at) + (text[at + 1] ?? '')
      from = at + 2
      at++
    } else if (char === '"') {
      place.at = at + 1
      return value + text.slice(from, at)
    }
  }
  throw new Unrepresentable('the array ends early')
}

function readBare(text: string, place: { at: number }, element: (text: string) => unknown): unknown {
  const from = place.at
  while (place.at < text.length && text[place.at] !== ',' && text[place.at] !== '}') place.at++
  const item = text.slice(from, place.at)
  return item === 'NULL' ? null : element(item)
}
