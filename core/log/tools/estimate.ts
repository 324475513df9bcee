// What a cleaning of a log's folder would remove, found out from outside: no lock is taken and nothing is written.
import { closedFile, estimateBase } from '../base/clean-job.ts'
import { figuresOf, figuresWithout, type Held, horizonsIn, planOf, reachOf } from '../base/reach.ts'
import { CLEAN_KEYS_BYTES_MAX, SEGMENT_BYTES_MAX } from '../limits.ts'
import type { CleanReport, CleanRequest } from '../log.ts'
import { Topics } from '../topics.ts'
import type { LogFolder } from './offline.ts'

/**
 * The report of `Log.clean({ …, dryRun: true })` for a folder.
 * @param held what views and mirrors still need: `positionsOf…`
 * @throws TOPIC_UNKNOWN, REQUEST_INVALID, LOG_CORRUPT
 */
export async function estimateClean(
  folder: LogFolder,
  request: CleanRequest,
  held: readonly Held[] = [],
): Promise<CleanReport> {
  const beganMs = performance.now()
  const { fileSystem, path, identity } = folder
  return folder.settled(async live => {
    const { base } = folder
    const stored = folder.topics.stored
    const topics = Topics.of(fileSystem, path, stored)
    const trim = horizonsIn(topics, request.trim, 'topic')
    const compact = horizonsIn(topics, request.compact, 'table')
    const { segments, to, limitedBy } = reachOf(live, base.to, held, request)
    const job = {
      folder: path,
      identity,
      topics: stored,
      compression: 'none' as const,
      segmentBytesMax: SEGMENT_BYTES_MAX,
      memoryBytes: CLEAN_KEYS_BYTES_MAX,
      generation: 0,
      bytesLeft: 0,
      segments: segments.map(closedFile),
      plan: planOf(topics, to, trim, compact),
    }
    const gone = await estimateBase(fileSystem, job, new AbortController().signal)
    const [before, after] = [await figuresOf(segments), await figuresWithout(segments, gone)]
    return {
      generation: base.generation,
      to,
      limitedBy,
      recordsBefore: before.records,
      recordsAfter: after.records,
      bytesBefore: before.bytes,
      bytesAfter: after.bytes,
      ms: Math.round(performance.now() - beganMs),
    }
  })
}
