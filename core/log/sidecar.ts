// `<segment>.index.json`: what opening the log needs of a segment, so that only the last one is scanned. It can always be made
// again from the segment. `bytes` is also evidence: so much of the file was durable once, whatever the file says now.
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { SEGMENT_HEADER_BYTES } from './block.ts'
import type { FileSystem } from './file-system.ts'
import type { SourceMark } from './log.ts'
import type { Segment } from './segment.ts'
import { readWhole, writeStored } from './stored-file.ts'

const FORMAT = 1

export const sidecarName = (segmentName: string): string => segmentName.replace(/\.segment$/, '.index.json')

/** The segment that a sidecar's name says it is of. */
export const segmentOfSidecar = (name: string): string | undefined =>
  name.endsWith(SUFFIX) ? name.replace(SUFFIX, '.segment') : undefined

const SUFFIX = '.index.json'

export const markSchema = z.object({
  source: z.string(),
  position: z.string(),
  transaction: z.string().exactOptional(),
  commitTimeUs: z.int().exactOptional(),
  snapshot: z.boolean().exactOptional(),
})

const contentSchema = z.object({
  format: z.literal(FORMAT),
  segment: z.string(),
  /** CRC-32 of the segment's header: which log and position it is of. */
  header: z.int(),
  last: z.int().min(0),
  bytes: z.int().min(SEGMENT_HEADER_BYTES),
  appendTimeMs: z.int().min(0),
  /** The newest mark of each source, in this segment or before. */
  marks: z.array(markSchema),
  index: z.array(z.tuple([z.int().positive(), z.int().min(SEGMENT_HEADER_BYTES)])),
})

export type Sidecar = z.output<typeof contentSchema>

const fileSchema = z.object({ crc: z.int(), content: z.unknown() })

/** State of the log at the end of a segment. */
export interface SegmentEnd {
  readonly appendTimeMs: number
  readonly marks: ReadonlyMap<string, SourceMark>
}

export async function writeSidecar(fs: FileSystem, folder: string, segment: Segment, end: SegmentEnd): Promise<void> {
  const content: Sidecar = {
    format: FORMAT,
    segment: segment.name,
    header: segment.seed,
    last: segment.last,
    bytes: segment.bytes,
    appendTimeMs: end.appendTimeMs,
    marks: [...end.marks.values()],
    index: segment.index.map(([position, offset]) => [position, offset]),
  }
  await writeStored(fs, folder, sidecarName(segment.name), { crc: crc32(JSON.stringify(content)), content })
}

/** The sidecar, if there is one and it is whole and of this segment. */
export async function readSidecar(fs: FileSystem, folder: string, segment: Segment): Promise<Sidecar | undefined> {
  try {
    const file = fileSchema.parse(
      JSON.parse((await readWhole(fs, join(folder, sidecarName(segment.name)))).toString('utf8')),
    )
    if (crc32(JSON.stringify(file.content)) !== file.crc) return undefined
    const content = contentSchema.parse(file.content)
    return content.segment === segment.name && content.header === segment.seed ? content : undefined
  } catch {
    // Missing, cut short or of an older format: the segment itself is read instead.
    return undefined
  }
}
