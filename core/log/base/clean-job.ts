// The writing of a new base as a job: finds out what stays, and writes the files that change under their temporary names, durable.
// It shares nothing with the log that runs but closed segments, so it can be done by another thread.
import { setImmediate as immediate } from 'node:timers/promises'
import type { FileSystem } from '../file-system.ts'
import type { AnySegment } from '../recovery.ts'
import type { HotFile } from '../sealed/seal-job.ts'
import { SealedFiles } from '../sealed/sealed-files.ts'
import { type SealedName, SealedSegment } from '../sealed/sealed-segment.ts'
import type { Compression } from '../sealed/sections.ts'
import { Segment } from '../segment.ts'
import type { SegmentEnd } from '../sidecar.ts'
import { Topics } from '../topics.ts'
import type { StoredTopic } from '../versions.ts'
import { type CleaningPlan, PlannedLayouts } from './plan.ts'
import { Rewrite, type RewriteOptions } from './rewrite.ts'
import { findSurvivors } from './survivors.ts'

/** A closed segment. */
export type ClosedFile =
  | { readonly kind: 'sealed'; readonly name: SealedName }
  | { readonly kind: 'hot'; readonly hot: HotFile; readonly end: SegmentEnd }

export interface CleanJob {
  readonly folder: string
  readonly identity: { readonly id: string; readonly epoch: number }
  /** As topics.json has them. */
  readonly topics: readonly StoredTopic[]
  readonly compression: Compression
  readonly segmentBytesMax: number
  /** For the keys of compacted topics. */
  readonly memoryBytes: number
  /** Of the new base. */
  readonly generation: number
  /** All up to the end of the new base, in order. */
  readonly segments: readonly ClosedFile[]
  readonly plan: CleaningPlan
  /** What may be written. */
  readonly bytesLeft: number
}

/** A file of the new base. */
export interface BaseFile {
  readonly name: string
  readonly first: number
  readonly last: number
  /** It was there before: nothing in it changes. */
  readonly taken: boolean
}

/** The files of the new base, in order; or about what it would write, where that is too much. Undefined: nothing would change. */
export type BaseOutcome = { readonly files: readonly BaseFile[] } | { readonly wantedBytes: number } | undefined

/**
 * Writes the files of the new base.
 * @throws LOG_CORRUPT, what the file system says, or the signal's reason; some of the files may be there then
 */
export async function writeBase(fs: FileSystem, job: CleanJob, signal: AbortSignal): Promise<BaseOutcome> {
  const { folder, identity, compression, segmentBytesMax, generation } = job
  return withSurvivors(fs, job, signal, async found => {
    if (!found.segments.some((_, n) => found.survivors.changed(n))) return undefined
    const options = { fs, folder, identity, compression, segmentBytesMax, generation }
    const rewrite = new Rewrite({ ...options, ...found })
    const wantedBytes = await rewrite.bytes()
    return wantedBytes > job.bytesLeft ? { wantedBytes } : { files: await rewrite.run() }
  })
}

/** Reads what `writeBase` would read, and gives how many records of each segment would go. Nothing is written. */
export const estimateBase = (fs: FileSystem, job: CleanJob, signal: AbortSignal): Promise<readonly number[]> =>
  withSurvivors(fs, job, signal, async ({ segments, survivors }) => segments.map((_, n) => survivors.gone(n)))

/** Finds out what stays, for as long as `use` takes. @throws LOG_CORRUPT, what the file system says, or the signal's reason */
async function withSurvivors<T>(
  fs: FileSystem,
  job: CleanJob,
  signal: AbortSignal,
  use: (found: Pick<RewriteOptions, 'topics' | 'segments' | 'layouts' | 'survivors' | 'pause'>) => Promise<T>,
): Promise<T> {
  const topics = Topics.of(fs, job.folder, job.topics)
  const layouts = new PlannedLayouts(topics, job.plan)
  const pause = async () => {
    await immediate()
    signal.throwIfAborted()
  }
  const files = new SealedFiles(fs)
  try {
    const segments = await Promise.all(job.segments.map(file => segmentOf(file, job, files)))
    const { memoryBytes } = job
    const survivors = await findSurvivors({ source: { fs, topics }, layouts, segments, memoryBytes, pause })
    return await use({ topics, segments, layouts, survivors, pause })
  } finally {
    await files.close()
  }
}

export function closedFile(segment: AnySegment): ClosedFile {
  if (segment instanceof SealedSegment) {
    const { first, generation } = segment
    return { kind: 'sealed', name: { first, generation } }
  }
  const { path, first, last, bytes, seed, end = { appendTimeMs: 0, marks: new Map() } } = segment
  return { kind: 'hot', hot: { path, first, last, bytes, seed }, end }
}

async function segmentOf(file: ClosedFile, { folder, identity }: CleanJob, files: SealedFiles): Promise<AnySegment> {
  if (file.kind === 'sealed') return new SealedSegment(files, folder, identity.id, file.name).open()
  const { first, last, bytes, seed } = file.hot
  const segment = new Segment(folder, identity.id, first, identity.epoch)
  segment.last = last
  segment.bytes = bytes
  segment.seed = seed
  segment.end = file.end
  return segment
}
