// A page of the key index: groups of events, each thing that they have stored apart from the others, and the rows' bytes turned:
// the first byte of all rows, then the second, up to the 64th; then the rest of each. Numbers of neighbours in a contract have
// their upper bytes in common, so that a page packs into about half of what it takes row by row.
//
// Page, raw = varint groups · varint events · of each group: varint bytes of the name, name · of each group: varint events · of each
//   event: varint position less that of the event before in its group (of the first: less the run's first position) · of each event:
//   varint layout · of each event: varint bytes of its row · the turned rows.
import { ByteReader, ByteWriter } from '../../contract/index.ts'

const TURNED_BYTES = 64

export class PageWriter {
  #groups = 0
  #events = 0
  readonly #names = new ByteWriter(4096)
  readonly #counts = new ByteWriter(1024)
  readonly #steps = new ByteWriter(4096)
  readonly #layouts = new ByteWriter(1024)
  readonly #lengths = new ByteWriter(1024)
  readonly #rows = new ByteWriter(32 * 1024)
  #rowLengths: number[] = []

  /** About what it takes before it is packed. */
  get bytes(): number {
    return this.#rows.at + this.#names.at + this.#steps.at
  }

  group(name: Buffer, count: number): void {
    this.#groups++
    this.#names.varint(name.length)
    this.#names.raw(name)
    this.#counts.varint(count)
  }

  event(step: number, layout: number, from: Buffer, start: number, end: number): void {
    this.#events++
    this.#steps.varint(step)
    this.#layouts.varint(layout)
    this.#lengths.varint(end - start)
    this.#rowLengths.push(end - start)
    copyInto(this.#rows, from, start, end)
  }

  /** The page; the writer is empty then. */
  take(): Buffer {
    const parts = [this.#names, this.#counts, this.#steps, this.#layouts, this.#lengths]
    const page = new ByteWriter(this.#rows.at + parts.reduce((sum, part) => sum + part.at + 16, 64))
    page.varint(this.#groups)
    page.varint(this.#events)
    for (const part of parts) {
      page.raw(part.buffer.subarray(0, part.at))
      part.at = 0
    }
    page.reserve(this.#rows.at)
    turn(this.#rows.buffer, this.#rowLengths, page.buffer, page.at, false)
    page.at += this.#rows.at
    this.#rows.at = 0
    this.#rowLengths = []
    this.#groups = 0
    this.#events = 0
    return page.copy()
  }
}

/** Between rows one after the other and turned ones, which begin at `at`. */
function turn(rows: Buffer, lengths: ArrayLike<number>, turned: Buffer, at: number, back: boolean): void {
  let longest = 0
  for (let n = 0; n < lengths.length; n++) longest = Math.max(longest, lengths[n]!)
  let place = at
  for (let byte = 0; byte < Math.min(longest, TURNED_BYTES); byte++) {
    let start = 0
    for (let n = 0; n < lengths.length; n++) {
      const length = lengths[n]!
      if (byte < length) {
        if (back) rows[start + byte] = turned[place++]!
        else turned[place++] = rows[start + byte]!
      }
      start += length
    }
  }
  let start = 0
  for (let n = 0; n < lengths.length; n++) {
    const end = start + lengths[n]!
    const rest = start + TURNED_BYTES
    if (rest < end) {
      if (back) turned.copy(rows, rest, place, place + end - rest)
      else rows.copy(turned, place, rest, end)
      place += end - rest
    }
    start = end
  }
}

/** Byte by byte: for short rows a tenth of the price of a view and a call. */
function copyInto(to: ByteWriter, from: Buffer, start: number, end: number): void {
  to.reserve(end - start)
  if (end - start > 200) {
    to.at += from.copy(to.buffer, to.at, start, end)
    return
  }
  const { buffer } = to
  let { at } = to
  for (let n = start; n < end; n++) buffer[at++] = from[n]!
  to.at = at
}

/** A page as it is kept for look-ups. */
export interface Page {
  readonly bytes: number
  readonly names: readonly Buffer[]
  /** Of each group: its first event; one more at the end. */
  readonly firsts: Uint32Array
  readonly steps: Float64Array
  readonly layouts: Uint32Array
  /** Of each event: where its row begins in `rows`. */
  readonly starts: Uint32Array
  readonly rows: Buffer
}

/** @throws RangeError where the bytes are not a page */
export function readPage(raw: Buffer): Page {
  const reader = new ByteReader(raw)
  const groups = reader.varint()
  const events = reader.varint()
  if (groups > raw.length || events > raw.length) throw new RangeError('a page claims more than it holds')
  const names: Buffer[] = []
  for (let n = 0; n < groups; n++) {
    const length = reader.varint()
    names.push(raw.subarray(reader.at, reader.at + length))
    reader.at += length
  }
  const firsts = new Uint32Array(groups + 1)
  for (let n = 0; n < groups; n++) firsts[n + 1] = firsts[n]! + reader.varint()
  const steps = new Float64Array(events)
  for (let n = 0; n < events; n++) steps[n] = reader.varint()
  const layouts = new Uint32Array(events)
  for (let n = 0; n < events; n++) layouts[n] = reader.varint()
  const lengths = new Float64Array(events)
  const starts = new Uint32Array(events)
  let used = 0
  for (let n = 0; n < events; n++) {
    starts[n] = used
    lengths[n] = reader.varint()
    used += lengths[n]!
  }
  if (firsts[groups] !== events || reader.at + used !== raw.length)
    throw new RangeError('a page has another length than its events')
  const rows = Buffer.allocUnsafeSlow(used)
  turn(rows, lengths, raw, reader.at, true)
  return { bytes: raw.length + used + events * 16 + groups * 100, names, firsts, steps, layouts, starts, rows }
}
