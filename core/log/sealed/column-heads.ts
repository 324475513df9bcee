// What a sealed block's head says of each column: its form, and the sections that hold it.
import type { ByteReader } from '../../contract/index.ts'
import { BITS, CONST, DICTIONARY, F64, HEAP, I64, SAME, STEPS, U8, U16, U32 } from './stored-forms.ts'

/** The head's part of a column. */
export interface StoredColumn {
  readonly form: number
  readonly base: number
  readonly section?: number
  readonly entries?: number
  readonly lengths?: StoredColumn
  readonly codes?: StoredColumn
}

/** The sections that hold a column. */
export function* sectionsOf({ section, lengths, codes }: StoredColumn): Generator<number> {
  if (section !== undefined) yield section
  if (lengths) yield* sectionsOf(lengths)
  if (codes) yield* sectionsOf(codes)
}

/** Reads a column's head; undefined: same as after. @throws RangeError */
export function readColumnHead(head: ByteReader): StoredColumn | undefined {
  const form = head.u8()
  switch (form) {
    case SAME:
      return undefined
    case CONST:
      return { form, base: head.f64() }
    case BITS:
    case U8:
    case U16:
    case U32:
      return { form, base: head.f64(), section: head.varint() }
    case F64:
    case I64:
      return { form, base: 0, section: head.varint() }
    case STEPS:
      return { form, base: head.f64(), codes: readSteps(head) }
    case HEAP:
      return { form, base: 0, lengths: readNumbersHead(head), section: head.varint() }
    case DICTIONARY: {
      const entries = head.varint()
      const lengths = readNumbersHead(head)
      return { form, base: 0, entries, lengths, section: head.varint(), codes: readNumbersHead(head) }
    }
    default:
      throw new RangeError(`a column has the unknown form ${form}`)
  }
}

/** Steps do not nest. */
function readSteps(head: ByteReader): StoredColumn {
  const column = readNumbersHead(head)
  if (column.form === STEPS) throw new RangeError('a column of steps has another form')
  return column
}

export function readNumbersHead(head: ByteReader): StoredColumn {
  const column = readColumnHead(head)
  if (!column || (column.form > F64 && column.form !== STEPS))
    throw new RangeError('a column of numbers has another form')
  return column
}
