// Tables for people: aligned columns, numbers to the right.

/** A line on standard output. */
export const line = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

export interface Column<T> {
  readonly text: (row: T) => string
  /** Default left. */
  readonly align?: 'right'
}

/** Lines of cells, indented by two spaces and separated by three; columns that are empty in every row are left out. */
export function formatTable<T>(rows: readonly T[], columns: readonly Column<T>[]): string[] {
  const cells = rows.map(row => columns.map(column => column.text(row)))
  const widths = columns.map((_, n) => Math.max(0, ...cells.map(line => width(line[n] ?? ''))))
  return cells.map(line => {
    const shown = columns.flatMap((column, n) => {
      const size = widths[n] ?? 0
      if (size === 0) return []
      const text = line[n] ?? ''
      const fill = ' '.repeat(size - width(text))
      return [column.align === 'right' ? fill + text : text + fill]
    })
    return `  ${shown.join('   ')}`.trimEnd()
  })
}

/** Characters as a terminal counts them, near enough: code points. */
const width = (text: string): number => [...text].length

/** `1010233` → `1,010,233` */
export const grouped = (digits: number | string): string => String(digits).replace(/\B(?=(\d{3})+(?!\d))/g, ',')

/** A duration in the unit that reads best. */
export function duration(ms: number | null): string {
  if (ms === null) return 'unknown'
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`
}

/** Bytes in the unit that reads best. */
export function byteSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let n = 0
  let size = bytes
  while (size >= 1_000 && n < units.length - 1) {
    size /= 1_000
    n++
  }
  return `${n === 0 ? size : size.toFixed(1)} ${units[n]}`
}

/** `tx 902 #3`: which transaction of a source a record is of, and its place in it. */
export function transactionText(
  source: {
    readonly transaction: string | null
    readonly snapshot: boolean
    readonly sequence: number | null
  } | null,
): string {
  if (source === null) return ''
  if (source.snapshot) return 'snapshot'
  const { transaction, sequence } = source
  return transaction === null ? '' : `tx ${transaction}${sequence === null ? '' : ` #${sequence}`}`
}
