// Whether two values that rows hold whole are equal.
import type { AnyRow } from '../../core/index.ts'

/** Equality of two maps; one that was never read is not made, and equals an empty one. */
export const isSameMap = (a: unknown, b: unknown): boolean => a === b || isDeepEqual(emptyAsNone(a), emptyAsNone(b))

const emptyAsNone = (value: unknown): unknown => (value instanceof Map && value.size === 0 ? undefined : value)

export function isDeepEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime()
  if (a instanceof Map) return b instanceof Map && isDeepEqual([...a], [...b])
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const names = Object.keys(a)
  if (names.length !== Object.keys(b).length) return false
  return names.every(name => Object.hasOwn(b, name) && isDeepEqual((a as AnyRow)[name], (b as AnyRow)[name]))
}
