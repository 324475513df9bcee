// Texts in the character sets of their columns. A snapshot gets them in UTF-8; row events hold them as they are stored.
import { TextDecoder } from 'node:util'

export type DecodeText = (bytes: Buffer, start: number, end: number) => string

const utf8: DecodeText = (bytes, start, end) => bytes.toString('utf8', start, end)

/** The server's name → the encoding of the same bytes by WHATWG (MySQL's latin1 is Windows-1252). */
const ENCODINGS: Readonly<Record<string, string>> = {
  latin1: 'windows-1252',
  latin2: 'iso-8859-2',
  latin5: 'windows-1254',
  latin7: 'iso-8859-13',
  greek: 'iso-8859-7',
  hebrew: 'iso-8859-8',
  tis620: 'windows-874',
  cp1250: 'windows-1250',
  cp1251: 'windows-1251',
  cp1256: 'windows-1256',
  cp1257: 'windows-1257',
  cp866: 'ibm866',
  koi8r: 'koi8-r',
  koi8u: 'koi8-u',
  macroman: 'macintosh',
  ucs2: 'utf-16be',
  utf16: 'utf-16be',
  utf16le: 'utf-16le',
  big5: 'big5',
  gb2312: 'gbk',
  gbk: 'gbk',
  gb18030: 'gb18030',
  euckr: 'euc-kr',
  ujis: 'euc-jp',
  eucjpms: 'euc-jp',
  sjis: 'shift_jis',
  cp932: 'shift_jis',
}

/** Undefined where texts of this character set cannot be read. */
export function decoderOf(charset: string): DecodeText | undefined {
  if (/^(utf8|utf8mb3|utf8mb4|ascii)$/.test(charset)) return utf8
  if (charset === 'utf32') return utf32
  const encoding = ENCODINGS[charset]
  if (encoding === undefined) return undefined
  const decoder = new TextDecoder(encoding)
  return (bytes, start, end) => decoder.decode(bytes.subarray(start, end))
}

const utf32: DecodeText = (bytes, start, end) => {
  let text = ''
  for (let at = start; at + 4 <= end; at += 4) text += String.fromCodePoint(bytes.readUInt32BE(at))
  return text
}

/** The collations of a server, by their numbers. */
export type Collations = ReadonlyMap<number, string>
