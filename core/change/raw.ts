// Raw values of what a contract refused, as the log keeps them.
import { isMainstemError, textOf } from '../errors.ts'

/** Longer raw values are cut: a record has a limit. */
const RAW_CHARS_MAX = 64 * 1024

export type RawValues = Readonly<Record<string, string | null>>

export const cutText = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most)}…`)

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
