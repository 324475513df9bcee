// The writes of a commit in the order of their keys: a B-tree then meets each of its pages once, and those of one page are written
// together. Sorted in steps that leave others the event loop, as a merge sort does.
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Sorted, or merged, in one turn of the event loop: about 2 ms. */
const SLICE = 4_096

/** Key bytes as latin1, and what is written under the key. */
export type Write = readonly [id: string, value: Buffer | null]

const before = ([a]: Write, [b]: Write): number => (a < b ? -1 : 1)

export async function sortedWrites(rows: ReadonlyMap<string, Buffer | null>): Promise<readonly Write[]> {
  const all = [...rows]
  let runs: (readonly Write[])[] = []
  for (let at = 0; at < all.length; at += SLICE) {
    if (at > 0) await nextTurn()
    runs.push(all.slice(at, at + SLICE).sort(before))
  }
  while (runs.length > 1) {
    const merged: (readonly Write[])[] = []
    for (let n = 0; n < runs.length; n += 2)
      merged.push(n + 1 < runs.length ? await merge(runs[n]!, runs[n + 1]!) : runs[n]!)
    runs = merged
  }
  return runs[0] ?? []
}

/** No key is in both. */
async function merge(a: readonly Write[], b: readonly Write[]): Promise<readonly Write[]> {
  const merged = new Array<Write>(a.length + b.length)
  let [i, j] = [0, 0]
  for (let n = 0; n < merged.length; n++) {
    const fromA = j >= b.length || (i < a.length && a[i]![0] < b[j]![0])
    merged[n] = fromA ? a[i++]! : b[j++]!
    if (n % SLICE === SLICE - 1) await nextTurn()
  }
  return merged
}
