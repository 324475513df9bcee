// Finds out, at start, where the durable log ends. Closed segments are known by their sidecars, the last one is scanned.
// What is not a whole batch at the very end was never acknowledged and is cut off. But nothing that was durable is ever cut:
// each block says how far its file was durable before it was written, so a bad block with a later block after it that
// says more, or with a sidecar that says more, is damage, and opening fails.
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { fail, isMainstemError } from '../errors.ts'
import { openBase, removeLeftovers } from './base/open-base.ts'
import {
  BLOCK_HEADER_BYTES,
  BLOCK_MAGIC_BYTES,
  checkSegmentHeader,
  HOT_SEGMENT,
  parseBlock,
  SEGMENT_HEADER_BYTES,
  type StoredBlock,
} from './block.ts'
import type { File, FileSystem } from './file-system.ts'
import type { LogIdentity } from './identity.ts'
import { BLOCK_BYTES_MAX, NEXT_BYTES_MAX } from './limits.ts'
import type { CleanReport, LogBase, SourceMark } from './log.ts'
import { corrupt } from './records.ts'
import { SealedFiles } from './sealed/sealed-files.ts'
import { isSealedTemporary, parseSealedName, SealedSegment } from './sealed/sealed-segment.ts'
import { firstOfName, readBlocks, Segment, segmentName } from './segment.ts'
import { readSidecar, type Sidecar, segmentOfSidecar, sidecarName, writeSidecar } from './sidecar.ts'
import { isSpill } from './spill.ts'

/** What happened to the log, for whoever shows or counts it. */
export type LogEvent =
  | { readonly event: 'log-tail-cut'; readonly file: string; readonly bytes: number; readonly reason: string }
  | { readonly event: 'log-segment-rescanned'; readonly file: string }
  | {
      /** Sources pause; appends are refused by the limit; by the disk; all are taken again. */
      readonly event: 'log-nearly-full' | 'log-limited' | 'log-full' | 'log-open'
      /** What the log has. */
      readonly bytes: number
      readonly bytesMax: number | null
      readonly message: string
    }
  | { readonly event: 'log-failed'; readonly message: string }
  | { readonly event: 'log-seal-failed'; readonly message: string }
  | ({ readonly event: 'log-cleaned' } & CleanReport)
  | { readonly event: 'log-clean-failed'; readonly message: string }
  | {
      /** A cleaning would write more than the volume has room for, and what is to stay free there; nothing was written. */
      readonly event: 'log-clean-waits'
      /** About what it would write. */
      readonly wantedBytes: number
      readonly bytesLeft: number
      readonly message: string
    }

/** Closed segments are sealed sooner or later; both are read alike. */
export type AnySegment = Segment | SealedSegment

export interface Recovered {
  readonly base: LogBase
  /** In order; the last one is appended to. */
  readonly segments: AnySegment[]
  readonly active: Segment
  readonly files: SealedFiles
  readonly marks: Map<string, SourceMark>
  readonly appendTimeMs: number
}

export interface Recovery {
  readonly fs: FileSystem
  readonly folder: string
  readonly identity: LogIdentity
  readonly onEvent: (event: LogEvent) => void
}

/** @throws LOG_CORRUPT, LOG_FORMAT_NEWER */
export async function recover(recovery: Recovery): Promise<Recovered> {
  const files = new SealedFiles(recovery.fs)
  try {
    const opened = await openBase(recovery, files)
    const { base } = opened
    const known = [...opened.leftovers, ...opened.segments.map(({ name }) => name)]
    const segments = [...opened.segments, ...(await segmentsOf(recovery, files, known))]
    const state = { marks: new Map<string, SourceMark>(), appendTimeMs: 0 }
    let next = 1
    for (const [n, segment] of segments.entries()) {
      if (segment.last <= base.to && segment instanceof SealedSegment) next = segment.first
      if (segment.first !== next)
        throw corrupt(segment.path, 0, `it begins at position ${segment.first}, the log goes on at ${next}`)
      const following = segments[n + 1]
      if (segment instanceof SealedSegment) await sealedSegment(segment, base.to, following, state)
      else if (following) await closedSegment(recovery, segment, following.first, state)
      else if (!(await lastSegment(recovery, segment, state))) segments.pop()
      next = segment.last + 1
    }
    await checkNoneMissing(recovery, next)
    const newest = segments[segments.length - 1]
    checkNewest(recovery, newest)
    await removeLeftovers(recovery, opened.leftovers)
    if (newest instanceof Segment) return { base, segments, active: newest, files, ...state }
    const active = await createSegment(recovery, next)
    segments.push(active)
    return { base, segments, active, files, ...state }
  } catch (error) {
    await files.close()
    throw error
  }
}

/** The segments after the base, in order. Where one is there sealed and not sealed, the sealed one, if it is whole. */
async function segmentsOf(
  { fs, folder, identity }: Recovery,
  files: SealedFiles,
  known: readonly string[],
): Promise<AnySegment[]> {
  const found = await fs.list(folder)
  for (const name of found.filter(each => isSealedTemporary(each) || isSpill(each))) await fs.remove(join(folder, name))
  const names = found.filter(name => !known.includes(name))
  const segments = new Map<number, AnySegment>()
  for (const first of names.map(firstOfName).filter(each => each !== undefined))
    segments.set(first, new Segment(folder, identity.id, first, identity.epoch))
  for (const name of names.map(parseSealedName).filter(each => each !== undefined)) {
    const { first } = name
    const sealed = new SealedSegment(files, folder, identity.id, name)
    const hot = segments.get(first)
    if (!hot) {
      segments.set(first, await sealed.open())
      continue
    }
    // Whether it is whole shows in its footer too, which is written last and has a checksum.
    const whole = await isWhole(sealed)
    if (whole) segments.set(first, sealed)
    const gone = whole ? hot : sealed
    await fs.remove(gone.path)
    if (whole) await fs.remove(join(folder, sidecarName(hot.name)))
  }
  return [...segments.values()].sort((a, b) => a.first - b.first)
}

async function isWhole(sealed: SealedSegment): Promise<boolean> {
  try {
    await sealed.open()
    await sealed.footer()
    return true
  } catch (error) {
    if (isMainstemError(error) && error.code === 'LOG_CORRUPT') return false
    throw error
  }
}

async function sealedSegment(
  segment: SealedSegment,
  baseTo: number,
  following: AnySegment | undefined,
  state: State,
): Promise<void> {
  if (following && segment.last + 1 !== following.first && following.first > baseTo) {
    throw corrupt(
      segment.path,
      segment.bytes,
      `it ends at position ${segment.last}, the next segment begins at ${following.first}`,
    )
  }
  // Its marks are those of all before it: only the newest one's are needed.
  if (following instanceof SealedSegment) return
  const { marks, appendTimeMs } = await segment.footer()
  for (const mark of marks) state.marks.set(mark.source, mark)
  state.appendTimeMs = appendTimeMs
}

/** The file that was appended to was durable before anything was in it: where it is gone, all that was in it is. */
function checkNewest({ folder, identity }: Recovery, newest: AnySegment | undefined): void {
  const { newest: first = 0 } = identity
  if (first > (newest?.first ?? 0))
    throw corrupt(join(folder, segmentName(first)), 0, 'the file is missing, and with it what was appended there')
}

/** A sidecar whose segment is gone says that records were: the log must not go on as if they had never been. */
async function checkNoneMissing({ fs, folder, identity }: Recovery, next: number): Promise<void> {
  const names = new Set(await fs.list(folder))
  for (const name of names) {
    const segmentFile = segmentOfSidecar(name)
    const first = segmentFile === undefined ? undefined : firstOfName(segmentFile)
    if (first === undefined || first < next || names.has(segmentFile ?? '')) continue
    const segment = new Segment(folder, identity.id, first, identity.epoch)
    const sidecar = await readSidecar(fs, folder, segment)
    if (sidecar && sidecar.bytes > SEGMENT_HEADER_BYTES)
      throw corrupt(segment.path, 0, `the file is missing; ${sidecar.bytes} bytes of it were durable`)
  }
}

/** Makes a segment's file, durable with its name. What an earlier attempt left there is emptied. */
export async function createSegment({ fs, folder, identity }: Recovery, first: number): Promise<Segment> {
  const segment = new Segment(folder, identity.id, first, identity.epoch)
  const file = await fs.open(segment.path, 'create')
  try {
    await file.write([segment.header], 0)
    await file.datasync()
  } finally {
    await file.close()
  }
  await fs.syncFolder(folder)
  return segment
}

interface State {
  readonly marks: Map<string, SourceMark>
  appendTimeMs: number
}

async function closedSegment(recovery: Recovery, segment: Segment, following: number, state: State): Promise<void> {
  const { fs, folder } = recovery
  const file = await fs.open(segment.path, 'read')
  try {
    await checkHeader(recovery, segment, file)
    const sidecar = await readSidecar(fs, folder, segment)
    const size = await file.size()
    if (sidecar && sidecar.bytes === size && sidecar.last + 1 === following) {
      take(segment, sidecar, state)
      segment.end = { appendTimeMs: state.appendTimeMs, marks: new Map(state.marks) }
      return
    }
    const scan = await scanSegment(file, segment, size, state)
    if (scan.bad !== undefined) throw corrupt(segment.path, scan.badAt, scan.bad)
    if (segment.last + 1 !== following) {
      throw corrupt(
        segment.path,
        segment.bytes,
        `it ends at position ${segment.last}, the next segment begins at ${following}`,
      )
    }
  } finally {
    await file.close()
  }
  segment.end = { appendTimeMs: state.appendTimeMs, marks: new Map(state.marks) }
  recovery.onEvent({ event: 'log-segment-rescanned', file: segment.path })
  // Only a short cut for the next start: without room for it the log opens as well.
  await writeSidecar(fs, folder, segment, state).catch(() => {})
}

function take(segment: Segment, sidecar: Sidecar, state: State): void {
  segment.last = sidecar.last
  segment.bytes = sidecar.bytes
  segment.index = sidecar.index
  for (const mark of sidecar.marks) state.marks.set(mark.source, mark)
  state.appendTimeMs = sidecar.appendTimeMs
}

/** False where the file was being made when the process ended: it is removed. */
async function lastSegment(recovery: Recovery, segment: Segment, state: State): Promise<boolean> {
  const { fs, folder } = recovery
  const file = await fs.open(segment.path, 'write')
  try {
    const size = await file.size()
    // Its header was made durable before anything was appended, so a file without one held nothing.
    if (size <= SEGMENT_HEADER_BYTES && !(await hasHeader(recovery, segment, file))) {
      const known = await readSidecar(fs, folder, segment)
      if (known && known.bytes > size)
        throw corrupt(segment.path, 0, `the file ends early; ${known.bytes} bytes of it were durable`)
      await fs.remove(segment.path)
      await fs.syncFolder(folder)
      return false
    }
    await checkHeader(recovery, segment, file)
    const sidecar = await readSidecar(fs, folder, segment)
    const scan = await scanSegment(file, segment, size, state)
    if (segment.bytes < size) await cutTail(recovery, segment, file, size, scan, sidecar)
    else if (sidecar && sidecar.bytes > size)
      throw corrupt(segment.path, size, `the file ends early; ${sidecar.bytes} bytes of it were durable`)
    // What the scan found may be in the page cache only, if a process was killed between its write and its fdatasync.
    await file.datasync()
    await fs.syncFolder(folder)
    return true
  } finally {
    await file.close()
  }
}

async function hasHeader({ identity }: Recovery, segment: Segment, file: File): Promise<boolean> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  const read = await file.read(header, 0)
  const wrong = checkSegmentHeader(HOT_SEGMENT, header.subarray(0, read), identity.id, segment.first)
  return wrong === undefined || wrong.format !== undefined
}

async function checkHeader({ identity }: Recovery, segment: Segment, file: File): Promise<void> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  const read = await file.read(header, 0)
  const wrong = checkSegmentHeader(HOT_SEGMENT, header.subarray(0, read), identity.id, segment.first)
  if (wrong?.format !== undefined) {
    throw fail('LOG_FORMAT_NEWER', 'the log was written by a newer version', {
      detail: `${segment.path}: ${wrong.reason}`,
    })
  }
  if (wrong) throw corrupt(segment.path, 0, wrong.reason)
  segment.adopt(header)
}

interface Scan {
  /** What is wrong at `badAt`, where the file does not end with a whole batch. */
  readonly bad: string | undefined
  readonly badAt: number
}

/** Reads all blocks, noting those of whole batches in `segment` and `state`. */
async function scanSegment(file: File, segment: Segment, size: number, state: State): Promise<Scan> {
  let chain: StoredBlock[] = []
  let next = segment.first
  let offset = SEGMENT_HEADER_BYTES
  while (offset < size) {
    const read = await readBlocks(file, segment.seed, offset, size, NEXT_BYTES_MAX)
    if (read.bad !== undefined) return { bad: read.bad, badAt: offset }
    for (const block of read.blocks) {
      if (block.first !== next || block.part !== chain.length)
        return { bad: 'a block is out of order', badAt: block.offset }
      next += block.count
      // Payloads are not kept: a chain may be larger than memory should be.
      chain.push({ ...block, payload: Buffer.alloc(0) })
      if (!block.last) continue
      for (const part of chain) segment.note(part)
      if (block.mark) state.marks.set(block.mark.source, block.mark)
      state.appendTimeMs = Math.max(state.appendTimeMs, block.appendTimeMs)
      chain = []
    }
    offset = read.offset
  }
  return { bad: chain.length > 0 ? 'the last batch is not whole' : undefined, badAt: size }
}

async function cutTail(
  recovery: Recovery,
  segment: Segment,
  file: File,
  size: number,
  scan: Scan,
  sidecar: Sidecar | undefined,
): Promise<void> {
  const reason = scan.bad ?? 'the last batch is not whole'
  const durable = Math.max(sidecar?.bytes ?? 0, await durableBytesSaid(file, segment, scan.badAt, size))
  if (durable > segment.bytes)
    throw corrupt(segment.path, scan.badAt, `${reason}, and ${durable} bytes of the file were durable`)
  await file.truncate(segment.bytes)
  recovery.onEvent({ event: 'log-tail-cut', file: segment.path, bytes: size - segment.bytes, reason })
}

/** The most that any valid block after `from` says about how far the file was durable before it. */
async function durableBytesSaid(file: File, segment: Segment, from: number, size: number): Promise<number> {
  let most = 0
  for await (const block of blocksFound(file, segment, from, size)) most = Math.max(most, block.durableBytes)
  return most
}

/** Whole blocks from an offset on, wherever they stand: what is left after damage. */
export async function* blocksFound(
  file: File,
  segment: Segment,
  from: number,
  size: number,
): AsyncGenerator<StoredBlock> {
  const window = Buffer.allocUnsafe(NEXT_BYTES_MAX)
  for (let start = from; start < size; start += window.length - BLOCK_MAGIC_BYTES.length + 1) {
    const bytes = window.subarray(0, await file.read(window, start))
    for (let at = bytes.indexOf(BLOCK_MAGIC_BYTES); at >= 0; at = bytes.indexOf(BLOCK_MAGIC_BYTES, at + 1)) {
      const block = await blockAt(file, segment, start + at, size)
      if (block) yield block
    }
    if (bytes.length < window.length) break
  }
}

async function blockAt(file: File, segment: Segment, offset: number, size: number): Promise<StoredBlock | undefined> {
  const header = Buffer.alloc(BLOCK_HEADER_BYTES)
  if ((await file.read(header, offset)) < BLOCK_HEADER_BYTES) return undefined
  // The offset that the header names tells most impostors (records may hold any bytes) without reading their whole length.
  const named = header.readUInt32LE(24) + header.readUInt32LE(28) * 0x1_0000_0000
  const bytes = header.readUInt32LE(8)
  if (named !== offset || bytes < BLOCK_HEADER_BYTES || bytes > Math.min(BLOCK_BYTES_MAX, size - offset))
    return undefined
  const whole = Buffer.allocUnsafe(bytes)
  await file.read(whole, offset)
  const block = parseBlock(whole, 0, offset, segment.seed)
  return 'bad' in block ? undefined : block
}

/** Reads all blocks up to the durable end once more. @throws LOG_CORRUPT */
export async function verifySegment(file: File, segment: Segment): Promise<void> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  await file.read(header, 0)
  if (crc32(header) !== segment.seed) throw corrupt(segment.path, 0, 'the header changed')
  let offset = SEGMENT_HEADER_BYTES
  while (offset < segment.bytes) {
    const read = await readBlocks(file, segment.seed, offset, segment.bytes, NEXT_BYTES_MAX)
    if (read.bad !== undefined) throw corrupt(segment.path, offset, read.bad)
    offset = read.offset
  }
}
