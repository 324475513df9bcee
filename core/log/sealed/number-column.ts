// Numbers as they are stored, read for a part of a block: what a fold goes over in runs is never widened as a whole.
import type { StoredColumn } from './column-heads.ts'
import { alignedView, type Sections } from './sections.ts'
import { BITS, CONST, F64, STEPS, U8, U16, U32 } from './stored-forms.ts'

const WIDTHS: Readonly<Record<number, number>> = { [U8]: 1, [U16]: 2, [U32]: 4, [F64]: 8 }

/** Gives values `from … from + count` of a column to an array, from `at` on. */
type Fill = (target: Float64Array, at: number, from: number, count: number) => void

export class NumberColumn {
  readonly count: number
  readonly fill: Fill

  /** Looks at no value. @throws RangeError where the section is not as long as the values */
  constructor(column: StoredColumn, count: number, sections: Sections) {
    this.count = count
    this.fill = fillOf(column, count, sections)
  }
}

function fillOf({ form, base, section, codes }: StoredColumn, count: number, sections: Sections): Fill {
  if (form === STEPS && codes) return fillSteps(base, codes, count, sections)
  if (form === CONST) return (target, at, _, n) => void target.fill(base, at, at + n)
  if (form > F64 || section === undefined) throw new RangeError('the column has no numbers')
  const bytes = alignedView(sections.get(section))
  if (bytes.length !== (form === BITS ? (count + 7) >>> 3 : count * WIDTHS[form]!))
    throw new RangeError('a column has another length than its block says')
  const { buffer, byteOffset } = bytes
  switch (form) {
    case BITS:
      return (target, at, from, n) => fillBits(target, at, bytes, base, from, n)
    case U8:
      return (target, at, from, n) => fill8(target, at, bytes, base, from, n)
    case U16: {
      const stored = new Uint16Array(buffer, byteOffset, count)
      return (target, at, from, n) => fill16(target, at, stored, base, from, n)
    }
    case U32: {
      const stored = new Uint32Array(buffer, byteOffset, count)
      return (target, at, from, n) => fill32(target, at, stored, base, from, n)
    }
    default: {
      const stored = new Float64Array(buffer, byteOffset, count)
      return (target, at, from, n) => fill64(target, at, stored, from, n)
    }
  }
}

/** Differences of neighbours: goes on where it ended, or begins anew. The first difference counts for nothing. */
function fillSteps(base: number, codes: StoredColumn, count: number, sections: Sections): Fill {
  const steps = fillOf(codes, count, sections)
  if (codes.form === CONST) return (target, at, from, n) => fillLine(target, at, base, codes.base, from, n)
  let next = 0
  let value = base
  const passed = new Float64Array(256)
  const take = (target: Float64Array, at: number, n: number): void => {
    steps(target, at, next, n)
    value = sums(target, at, n, next === 0 ? base - target[at]! : value)
    next += n
  }
  return (target, at, from, n) => {
    if (from < next) {
      next = 0
      value = base
    }
    while (next < from) take(passed, 0, Math.min(passed.length, from - next))
    take(target, at, n)
  }
}

/** Sums up in place; gives the last. */
function sums(target: Float64Array, at: number, count: number, before: number): number {
  let value = before
  for (let n = at; n < at + count; n++) target[n] = value += target[n]!
  return value
}

// One function for each width: a loop that meets several kinds of arrays is several times slower.
function fillLine(target: Float64Array, at: number, base: number, step: number, from: number, count: number): void {
  for (let n = 0; n < count; n++) target[at + n] = base + step * (from + n)
}

function fillBits(target: Float64Array, at: number, bits: Uint8Array, base: number, from: number, count: number): void {
  for (let n = 0; n < count; n++) target[at + n] = base + ((bits[(from + n) >>> 3]! >>> ((from + n) & 7)) & 1)
}

function fill8(target: Float64Array, at: number, stored: Uint8Array, base: number, from: number, count: number): void {
  for (let n = 0; n < count; n++) target[at + n] = base + stored[from + n]!
}

function fill16(
  target: Float64Array,
  at: number,
  stored: Uint16Array,
  base: number,
  from: number,
  count: number,
): void {
  for (let n = 0; n < count; n++) target[at + n] = base + stored[from + n]!
}

function fill32(
  target: Float64Array,
  at: number,
  stored: Uint32Array,
  base: number,
  from: number,
  count: number,
): void {
  for (let n = 0; n < count; n++) target[at + n] = base + stored[from + n]!
}

function fill64(target: Float64Array, at: number, stored: Float64Array, from: number, count: number): void {
  for (let n = 0; n < count; n++) target[at + n] = stored[from + n]!
}
