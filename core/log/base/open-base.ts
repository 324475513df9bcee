// Finds the base's segments at start, and what a cleaning that did not come to its end, or the removal after one, left behind.
import { join } from 'node:path'
import type { LogBase } from '../log.ts'
import { corrupt } from '../records.ts'
import type { Recovery } from '../recovery.ts'
import type { SealedFiles } from '../sealed/sealed-files.ts'
import { parseSealedName, SealedSegment } from '../sealed/sealed-segment.ts'
import { firstOfName } from '../segment.ts'
import { segmentOfSidecar } from '../sidecar.ts'
import { BASE_FILE, baseOf, NO_BASE, readManifest } from './manifest.ts'

export interface OpenedBase {
  readonly base: LogBase
  readonly segments: readonly SealedSegment[]
  /** Files that no longer belong to the log; to be removed once all of it is found to be there. */
  readonly leftovers: readonly string[]
}

/** @throws LOG_CORRUPT naming a file of the base that is missing or another one, LOG_FORMAT_NEWER */
export async function openBase(recovery: Recovery, files: SealedFiles): Promise<OpenedBase> {
  const { fs, folder, identity } = recovery
  const names = await fs.list(folder)
  const manifest = await readManifest(fs, folder)
  const base = manifest ? baseOf(manifest) : NO_BASE
  const segments: SealedSegment[] = []
  for (const { name, first, last } of manifest?.segments ?? []) {
    const path = join(folder, name)
    if (!names.includes(name)) throw corrupt(path, 0, `the file is missing; ${BASE_FILE} names it`)
    const { generation } = parseSealedName(name)!
    const segment = await new SealedSegment(files, folder, identity.id, { first, generation }).open()
    if (segment.last !== last) throw corrupt(path, 0, `it ends at position ${segment.last}, ${BASE_FILE} says ${last}`)
    segments.push(segment)
  }
  const named = new Set(segments.map(segment => segment.name))
  return { base, segments, leftovers: names.filter(name => isLeftover(name, base.to) && !named.has(name)) }
}

/** Whatever is of positions in the base, and what only a cleaning writes. */
function isLeftover(name: string, to: number): boolean {
  const sealed = parseSealedName(name)
  if (sealed) return sealed.generation > 0 || sealed.first <= to
  return (firstOfName(segmentOfSidecar(name) ?? name) ?? Number.POSITIVE_INFINITY) <= to
}

/** Takes the leftovers away; what cannot be taken away stays until the next start. */
export async function removeLeftovers({ fs, folder }: Recovery, names: readonly string[]): Promise<void> {
  for (const name of names) await fs.remove(join(folder, name)).catch(() => {})
}
