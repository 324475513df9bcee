// The sealing of one segment as a job: reads the hot file and writes the sealed one under its temporary name, durable. It
// shares nothing with the log that runs but the two files, so it can be done by another thread.
import { dirname } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { SEGMENT_HEADER_BYTES, type StoredBlock } from '../block.ts'
import type { FileSystem } from '../file-system.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import { corrupt } from '../records.ts'
import { readBlocks } from '../segment.ts'
import type { SegmentEnd } from '../sidecar.ts'
import { Topics } from '../topics.ts'
import type { StoredTopic } from '../versions.ts'
import { SealedFileWriter } from './file-writer.ts'
import type { Compression } from './sections.ts'

/** A closed hot segment. */
export interface HotFile {
  readonly path: string
  readonly first: number
  readonly last: number
  readonly bytes: number
  /** With what the CRCs of its blocks begin. */
  readonly seed: number
}

export interface SealJob {
  readonly identity: { readonly id: string; readonly epoch: number }
  readonly hot: HotFile
  readonly end: SegmentEnd
  /** As topics.json has them. */
  readonly topics: readonly StoredTopic[]
  readonly compression: Compression
  /** Where to write; what is there is overwritten. */
  readonly to: string
}

/** @throws LOG_CORRUPT, what the file system says, or the signal's reason; the file is then not whole */
export async function sealSegment(fs: FileSystem, job: SealJob, signal: AbortSignal): Promise<undefined> {
  const { identity, hot, end, compression } = job
  const file = await fs.open(job.to, 'create')
  try {
    const writer = new SealedFileWriter(file, {
      identity,
      topics: Topics.of(fs, dirname(job.to), job.topics),
      first: hot.first,
      compression,
      payloadBytes: hot.bytes,
      signal,
    })
    for await (const block of hotBlocks(fs, hot)) await writer.add(block)
    await writer.finish(hot.last, end)
    await file.datasync()
  } finally {
    await file.close().catch(() => {})
  }
}

/** All blocks of a closed segment. @throws LOG_CORRUPT */
export async function* hotBlocks(fs: FileSystem, hot: HotFile): AsyncGenerator<StoredBlock> {
  const file = await fs.open(hot.path, 'read')
  try {
    let offset = SEGMENT_HEADER_BYTES
    while (offset < hot.bytes) {
      const read = await readBlocks(file, hot.seed, offset, hot.bytes, NEXT_BYTES_MAX / 4)
      if (read.bad !== undefined) throw corrupt(hot.path, offset, read.bad)
      yield* read.blocks
      offset = read.offset
      await immediate()
    }
  } finally {
    await file.close().catch(() => {})
  }
}
