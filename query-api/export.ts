// A view as a file: rows as lines of JSON, or of comma-separated values (RFC 4180). Both say at which position they are and how
// many rows they have, so that one that was cut short is noticed: in the answer's head, and JSON in a last line too.
import { type Field, toWire, type ValueType } from '../core/index.ts'
import type { LiveView, ViewRow } from '../projections/index.ts'
import type { ServedView } from './reads.ts'
import type { ShownRows } from './security/seen-rows.ts'

export const EXPORT_FORMATS = ['ndjson', 'csv'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export const EXPORT_TYPES: Readonly<Record<ExportFormat, string>> = {
  ndjson: 'application/x-ndjson; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
}

export const rowJson = ({ writeKey, writeValue }: ServedView, { key, value }: ViewRow): string =>
  `{"key":${writeKey(key)},"value":${writeValue(value)}}`

/** The file, some rows at a time. */
export async function* exportText(served: ServedView, rows: ShownRows, format: ExportFormat): AsyncGenerator<string> {
  const { head, row, tail } = format === 'csv' ? csvOf(served.live) : ndjsonOf(served, rows)
  if (head !== '') yield head
  let count = 0
  for await (const batch of rows) {
    count += batch.length
    yield batch.map(row).join('')
  }
  if (rows.rows !== undefined && count !== rows.rows)
    throw new RangeError(`an export of ${rows.rows} rows has ${count}`)
  if (tail) yield tail(count)
}

interface Lines {
  readonly head: string
  readonly row: (row: ViewRow) => string
  readonly tail?: (count: number) => string
}

/** The last line has no key. */
const ndjsonOf = (served: ServedView, { position, final }: ShownRows): Lines => ({
  head: '',
  row: row => `${rowJson(served, row)}\n`,
  tail: count => `{"position":"${position}","rows":${count},"final":${final}}\n`,
})

/**
 * Columns: `key`, or `key.<column>` of a composite one; then the fields in the order of the state. Values as JSON has them
 * without their quotes; what is nested as JSON; null is empty, and an empty text is "".
 */
function csvOf({ key, value }: LiveView): Lines {
  const keys: Field[] = key.single
    ? [{ name: 'key', type: key.columns[0]!.type }]
    : key.columns.map(({ name, type }) => ({ name: `key.${name}`, type }))
  const head = csvLine([...keys, ...value.fields].map(({ name }) => csvText(name)))
  const row = (each: ViewRow) => {
    const parts = key.single
      ? [each.key]
      : key.columns.map(({ name }) => (each.key as Readonly<Record<string, unknown>>)[name])
    return csvLine([
      ...keys.map(({ type }, n) => csvCell(type, parts[n])),
      ...value.fields.map(({ name, type }) => csvCell(type, each.value[name])),
    ])
  }
  return { head, row }
}

const csvLine = (cells: readonly string[]): string => `${cells.join(',')}\r\n`

function csvCell(type: ValueType, value: unknown): string {
  const wire = toWire(type, value)
  if (wire === null || wire === undefined) return ''
  if (typeof wire === 'string') return csvText(wire)
  return typeof wire === 'object' ? csvText(JSON.stringify(wire)) : String(wire)
}

const csvText = (text: string): string =>
  text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
