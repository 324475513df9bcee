import { expect, it } from 'vitest'
import { ByteWriter, Span } from '../../../core/index.ts'

const written = (write: (writer: ByteWriter) => void): Buffer => {
  const writer = new ByteWriter(1)
  write(writer)
  return writer.copy()
}

it.each([
  '',
  'plain',
  'a'.repeat(127),
  'a'.repeat(128),
  'a'.repeat(40_000),
  'Grüße',
  'ü'.repeat(63),
  '€'.repeat(100),
  '🌊',
])('a text is written from its UTF-8 as from a string: %.20s', text => {
  const bytes = Buffer.from(`<${text}>`)
  expect(written(writer => writer.utf8(bytes, 1, bytes.length - 1))).toEqual(written(writer => writer.string(text)))
})

it.each([[0xff], [0x61, 0xc3], [0xed, 0xa0, 0x80], [...Buffer.alloc(200, 0x80)]])(
  'bytes that are no UTF-8 are written as what a string makes of them: %j',
  (...values) => {
    const bytes = Buffer.from(values)
    expect(written(writer => writer.utf8(bytes, 0, bytes.length))).toEqual(
      written(writer => writer.string(bytes.toString())),
    )
  },
)

it('spans are equal where their bytes are', () => {
  const a = new Span().set(Buffer.from('xabcx'), 1, 4)
  expect(a.equals(new Span().set(Buffer.from('abc'), 0, 3))).toBe(true)
  expect(a.equals(new Span().set(Buffer.from('abd'), 0, 3))).toBe(false)
  expect(a.equals(new Span().set(Buffer.from('abcx'), 0, 4))).toBe(false)
  expect(a.copy().toString()).toBe('abc')
  expect(written(writer => writer.span(Buffer.alloc(300, 7), 10, 290))).toEqual(Buffer.alloc(280, 7))
})
