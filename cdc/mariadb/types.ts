// Column types of MariaDB and MySQL as far as a contract can tell them apart.

export type TypeClass =
  | 'int'
  | 'decimal'
  | 'float'
  | 'double'
  | 'bit'
  | 'year'
  | 'date'
  | 'time'
  | 'datetime'
  | 'timestamp'
  | 'text'
  | 'binary'
  | 'enum'
  | 'set'
  | 'json'
  | 'uuid'
  | 'inet4'
  | 'inet6'
  | 'other'

export interface ColumnType {
  readonly class: TypeClass
  /** As the server writes it, for messages: `decimal(12,2)`. */
  readonly name: string
  /** int: bytes · bit: bits · decimal: digits · binary: its length, where it is fixed; else 0. */
  readonly size: number
  /** Of a decimal. */
  readonly scale: number
  readonly unsigned: boolean
  /** tinyint(1) or bit(1): 0 and 1 can be read as a boolean. */
  readonly boolean: boolean
  /** Of an enum or set. */
  readonly labels: readonly string[]
  /** Of texts, enums and sets. */
  readonly charset: string
}

/** A row of information_schema.columns, as far as it says the type. */
export interface TypeRow {
  readonly dataType: string
  readonly columnType: string
  readonly charset: string | null
  readonly precision: number | null
  readonly scale: number | null
  readonly length: number | null
  /** MariaDB keeps JSON as text with this check. */
  readonly isJson: boolean
}

const CLASSES: Readonly<Record<string, TypeClass>> = {
  tinyint: 'int',
  smallint: 'int',
  mediumint: 'int',
  int: 'int',
  bigint: 'int',
  decimal: 'decimal',
  float: 'float',
  double: 'double',
  bit: 'bit',
  year: 'year',
  date: 'date',
  time: 'time',
  datetime: 'datetime',
  timestamp: 'timestamp',
  char: 'text',
  varchar: 'text',
  tinytext: 'text',
  text: 'text',
  mediumtext: 'text',
  longtext: 'text',
  binary: 'binary',
  varbinary: 'binary',
  tinyblob: 'binary',
  blob: 'binary',
  mediumblob: 'binary',
  longblob: 'binary',
  geometry: 'binary',
  point: 'binary',
  linestring: 'binary',
  polygon: 'binary',
  multipoint: 'binary',
  multilinestring: 'binary',
  multipolygon: 'binary',
  geometrycollection: 'binary',
  geomcollection: 'binary',
  vector: 'binary',
  enum: 'enum',
  set: 'set',
  json: 'json',
  uuid: 'uuid',
  inet4: 'inet4',
  inet6: 'inet6',
}

const INT_BYTES: Readonly<Record<string, number>> = { tinyint: 1, smallint: 2, mediumint: 3, int: 4, bigint: 8 }

export function typeOf(row: TypeRow): ColumnType {
  const { dataType, columnType } = row
  const typeClass = row.isJson ? 'json' : (CLASSES[dataType] ?? 'other')
  const size =
    typeClass === 'int'
      ? (INT_BYTES[dataType] ?? 8)
      : dataType === 'binary'
        ? (row.length ?? 0)
        : typeClass === 'bit' || typeClass === 'decimal'
          ? (row.precision ?? 0)
          : 0
  return {
    class: typeClass,
    name: columnType.replace(/ \/\*.*$/, ''),
    size,
    scale: row.scale ?? 0,
    unsigned: /\bunsigned\b/.test(columnType),
    boolean: /^(tinyint\(1\)|bit\(1\))/.test(columnType),
    labels: typeClass === 'enum' || typeClass === 'set' ? labelsIn(columnType) : [],
    charset: row.charset ?? '',
  }
}

/** `enum('a','it''s')` → a, it's */
function labelsIn(text: string): string[] {
  return [...text.matchAll(/'((?:[^'\\]|''|\\.)*)'/g)].map(([, label = '']) =>
    label.replaceAll("''", "'").replace(/\\(.)/g, '$1'),
  )
}

export const UNKNOWN_TYPE: ColumnType = {
  class: 'other',
  name: 'unknown',
  size: 0,
  scale: 0,
  unsigned: false,
  boolean: false,
  labels: [],
  charset: '',
}
