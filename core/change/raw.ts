// Raw values of what a contract refused, as the log keeps them.
import { isMainstemError, textOf } from '../errors.ts'

/** A row's raw values are kept whole up to so many bytes of JSON: half of what a record may have. */
const RAW_BYTES_MAX = 8 * 1024 * 1024
/** Of a row with more each value is kept up to here; and so it is where rows are listed. */
const RAW_CHARS_MAX = 64 * 1024

export type RawValues = Readonly<Record<string, string | null>>

export const cutText = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most)}…`)

/** As the log keeps them. */
export function keptRaw(raw: RawValues): RawValues {
  const chars = Object.values(raw).reduce((sum, value) => sum + (value?.length ?? 0), 0)
  if (chars <= RAW_CHARS_MAX) return raw
  return chars <= RAW_BYTES_MAX && Buffer.byteLength(JSON.stringify(raw)) <= RAW_BYTES_MAX ? raw : cutRaw(raw)
}

/** As lists show them. */
export function cutRaw(raw: RawValues): RawValues {
  if (Object.values(raw).every(value => (value?.length ?? 0) <= RAW_CHARS_MAX)) return raw
  return Object.fromEntries(
    Object.entries(raw).map(([name, value]) => [name, value === null ? null : cutText(value, RAW_CHARS_MAX)]),
  )
}

/** True of a raw value that was too long to keep whole: it must not be taken for the value. */
export const isCutRaw = (text: string): boolean => text.length === RAW_CHARS_MAX + 1 && text.endsWith('…')

export const refusedBy = (error: unknown): string =>
  isMainstemError(error) ? (error.detail ?? error.message) : textOf(error)
