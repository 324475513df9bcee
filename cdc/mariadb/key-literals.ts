// Keys in SQL: values of a key's columns as literals that compare as the column's own values do, in the order of its index.
import { fail } from '../../core/index.ts'
import { quoteName } from './connection.ts'
import { type ColumnType, UNKNOWN_TYPE } from './types.ts'

export interface KeyColumn {
  readonly name: string
  readonly type: ColumnType
}

export const keyColumns = (
  names: readonly string[],
  columns: readonly { readonly name: string; readonly type: ColumnType }[],
): KeyColumn[] =>
  names.map(name => ({ name, type: columns.find(column => column.name === name)?.type ?? UNKNOWN_TYPE }))

/** What rows are ordered and compared by: the labels of enums and sets have an order of their own. */
export const orderCode = ({ name, type }: KeyColumn): string =>
  type.class === 'enum' || type.class === 'set' || type.class === 'bit' ? `(${quoteName(name)} + 0)` : quoteName(name)

/** The column's value as hexadecimal digits, for `literalOf`. */
export const hexCode = (column: KeyColumn): string =>
  column.type.class === 'binary' ? `hex(${quoteName(column.name)})` : `hex(cast(${orderCode(column)} as char))`

const NUMBERS: ReadonlySet<string> = new Set(['int', 'decimal', 'float', 'double', 'year', 'bit', 'enum', 'set'])

/**
 * @param bytes the value's own bytes, or those of its text
 * @throws SOURCE_PROTOCOL where a number's text is none
 */
export function literalOf({ type }: KeyColumn, bytes: Buffer): string {
  if (type.class === 'binary') return `x'${bytes.toString('hex')}'`
  // A number compared with a text would be rounded to a double.
  if (NUMBERS.has(type.class)) {
    const text = bytes.toString('latin1')
    if (!/^-?\d+(\.\d+)?(e[-+]?\d+)?$/i.test(text)) throw fail('SOURCE_PROTOCOL', `a key's value is no ${type.name}`)
    return text
  }
  // As a literal, so that the column's collation decides.
  return `_utf8mb4 x'${bytes.toString('hex')}'`
}

/** Rows behind those with these values: in a form that is read by a range of the index. */
export function behindCode(columns: readonly KeyColumn[], values: readonly string[]): string {
  const [first] = columns
  const literals = columns.map((column, n) => literalOf(column, Buffer.from(values[n] ?? '', 'hex')))
  const places = columns.map((column, n) => {
    const equal = columns.slice(0, n).map((each, k) => `${orderCode(each)} = ${literals[k]}`)
    return `(${[...equal, `${orderCode(column)} > ${literals[n]}`].join(' and ')})`
  })
  return `${first ? orderCode(first) : '0'} >= ${literals[0]} and (${places.join(' or ')})`
}
