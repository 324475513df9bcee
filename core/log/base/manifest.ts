// `base.json`: the cleaned beginning of the log, positions 1 to `to`. It names the segments that stand for these positions, and
// says up to where each topic's history was removed. Replaced whole: it is what makes a cleaning happen at one instant.
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { fail } from '../../errors.ts'
import type { FileSystem } from '../file-system.ts'
import type { LogBase } from '../log.ts'
import { parseSealedName } from '../sealed/sealed-segment.ts'
import { readStored, writeStored } from '../stored-file.ts'

export const BASE_FILE = 'base.json'
const FORMAT = 1

const position = z.int().min(1)

const contentSchema = z.object({
  format: z.literal(FORMAT),
  /** Counts the cleanings. */
  generation: position,
  to: position,
  segments: z.array(z.object({ name: z.string(), first: position, last: position })).min(1),
  topics: z.record(
    z.string(),
    z.object({ trimmedTo: position.exactOptional(), compactedTo: position.exactOptional() }),
  ),
})

export type Manifest = z.output<typeof contentSchema>

/** A log that was never cleaned. */
export const NO_BASE: LogBase = { generation: 0, to: 0, changedTo: 0, topics: new Map() }

export const baseOf = ({ generation, to, topics }: Manifest): LogBase => ({
  generation,
  to,
  changedTo: Math.max(
    0,
    ...Object.values(topics).map(({ trimmedTo = 0, compactedTo = 0 }) => Math.max(trimmedTo, compactedTo)),
  ),
  topics: new Map(Object.entries(topics)),
})

const stored = (content: Manifest) => ({ crc: crc32(JSON.stringify(content)), content })

export function writeManifest(fs: FileSystem, folder: string, content: Manifest): Promise<void> {
  return writeStored(fs, folder, BASE_FILE, stored(content))
}

/** Undefined where the log was never cleaned. @throws LOG_CORRUPT, LOG_FORMAT_NEWER */
export async function readManifest(fs: FileSystem, folder: string): Promise<Manifest | undefined> {
  if (!(await fs.list(folder)).includes(BASE_FILE)) return undefined
  const file = (await readStored(fs, folder, BASE_FILE)) as Partial<ReturnType<typeof stored>> | null
  const newer = z.object({ format: z.int().min(FORMAT + 1) }).safeParse(file?.content)
  if (newer.success) {
    throw fail('LOG_FORMAT_NEWER', 'the log was written by a newer version', {
      detail: `${join(folder, BASE_FILE)} has format ${newer.data.format}`,
    })
  }
  if (!file || file.crc !== crc32(JSON.stringify(file.content) ?? '')) throw damaged(folder, 'its checksum is wrong')
  const parsed = contentSchema.safeParse(file.content)
  if (!parsed.success) throw damaged(folder, parsed.error.issues[0]?.message)
  const fault = faultOf(parsed.data)
  if (fault !== undefined) throw damaged(folder, fault)
  return parsed.data
}

function faultOf({ generation, to, segments, topics }: Manifest): string | undefined {
  let next = 1
  for (const { name, first, last } of segments) {
    const parsed = parseSealedName(name)
    if (!parsed || parsed.first !== first || parsed.generation > generation) return `${name} is not a segment of it`
    if (first < next || last < first) return `${name} is out of order`
    next = last + 1
  }
  if (next !== to + 1) return `its segments end at position ${next - 1}, it at ${to}`
  const beyond = Object.entries(topics).find(
    ([, { trimmedTo = 0, compactedTo = 0 }]) => Math.max(trimmedTo, compactedTo) > to,
  )
  return beyond && `the history of ${beyond[0]} was removed beyond its end`
}

const damaged = (folder: string, what: string | undefined) =>
  fail('LOG_CORRUPT', `${BASE_FILE} of the log cannot be read`, {
    detail: `${join(folder, BASE_FILE)}: ${what}`,
    hint: 'restore the log’s folder from a backup',
  })
