// The one writer: takes what is queued, gives it positions, writes it with one call, makes it durable with one fdatasync, and
// only then shows it to readers and acknowledges it. Relies on nothing else writing to the active segment.
//
// What the room does not admit is refused before anything is written. When a write finds no room all the same, the file is cut
// back to its durable end, and only then is the refusal answered: no crash brings back what was refused. After any other failure nothing is known of what the
// kernel kept (a failed fdatasync marks pages clean), so fdatasync is never tried again: the file is closed, opened anew, read
// to its durable end and cut there.
import { setImmediate as immediate } from 'node:timers/promises'
import { fail, isMainstemError, type MainstemError, textOf } from '../errors.ts'
import type { EncodedBatch, WriterPool } from './batch.ts'
import type { StoredBlock } from './block.ts'
import { type File, isFull } from './file-system.ts'
import { noteNewest } from './identity.ts'
import { GROUP_BYTES_MAX, SMALL_BLOCK_BYTES_MAX, YIELD_BYTES } from './limits.ts'
import type { Appended, LogStatus, SourceMark } from './log.ts'
import { MarkHistory } from './marks.ts'
import { Placing } from './placing.ts'
import { type AnySegment, createSegment, type Recovered, type Recovery, verifySegment } from './recovery.ts'
import type { Room } from './room.ts'
import type { Segment } from './segment.ts'
import { writeSidecar } from './sidecar.ts'
import type { Spill } from './spill.ts'
import type { Tail } from './tail.ts'

interface Queued extends EncodedBatch {
  readonly resolve: (appended: Appended) => void
  readonly reject: (error: Error) => void
}

/** What one write puts into the file. */
interface Group {
  readonly batches: readonly Queued[]
  readonly appended: readonly Appended[]
  readonly buffers: readonly Buffer[]
  readonly blocks: readonly StoredBlock[]
  /** How many of the blocks, the first ones, are in the file only. */
  readonly spilled: number
  readonly appendTimeMs: number
}

export interface WriterParts {
  readonly recovery: Recovery
  readonly recovered: Recovered
  readonly file: File
  readonly tail: Tail
  readonly pool: WriterPool
  readonly clock: () => number
  readonly segmentBytesMax: number
  readonly room: Room
  /** Called when blocks have become durable. */
  readonly onDurable: () => void
  /** Called when a segment was closed. */
  readonly onClosed: () => void
}

export class Writer {
  readonly #parts: WriterParts
  readonly segments: AnySegment[]
  #active: Segment
  readonly marks: Map<string, SourceMark>
  readonly history: MarkHistory
  #appendTimeMs: number
  #file: File | undefined
  #queue: Queued[] = []
  #running: Promise<unknown> | undefined
  #state: 'open' | 'failed' | 'closed' = 'open'
  /** First position of a segment that is to be closed before anything more is written to it. */
  #ending: number | undefined

  constructor(parts: WriterParts) {
    this.#parts = parts
    this.segments = parts.recovered.segments
    this.#active = parts.recovered.active
    this.marks = parts.recovered.marks
    this.history = new MarkHistory(this.marks, this.#active.last)
    this.#appendTimeMs = parts.recovered.appendTimeMs
    this.#file = parts.file
    parts.room.probe = bytes => this.#probe(bytes)
  }

  get state(): LogStatus['state'] {
    return this.#state === 'open' ? this.#parts.room.state : this.#state
  }

  /** The segment that is appended to. */
  get active(): Segment {
    return this.#active
  }

  /** Position of the last durable record. */
  get end(): number {
    return this.active.last
  }

  submit(batch: EncodedBatch): Promise<Appended> {
    if (this.#state === 'closed') return Promise.reject(closedError())
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...batch, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /**
   * Closes a segment as if it were full, if it is still appended to and has records. What fails is tried again before the next
   * append, which would find no room for it either: once begun, nothing more is written to the segment, whatever a crash leaves.
   */
  async endSegment(first: number): Promise<void> {
    const isMeant = () => this.#state !== 'closed' && this.#active.first === first && this.#active.last >= first
    if (!isMeant()) return
    this.#ending = first
    while (this.#running && isMeant()) await this.#running
    if (!isMeant()) return
    const rolling = this.#rollNow()
    this.#running = rolling.finally(() => {
      this.#running = this.#queue.length > 0 ? this.#run() : undefined
    })
    await rolling
  }

  async #rollNow(): Promise<void> {
    try {
      if (!this.#file) await this.#reopen()
      await this.#roll()
    } catch (error) {
      await this.#failed([], error)
    }
  }

  get #isFull(): boolean {
    const { first, last, bytes } = this.#active
    return last >= first && (bytes >= this.#parts.segmentBytesMax || this.#ending === first)
  }

  /** Writes what is queued, then takes nothing more. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    const failed = this.#state === 'failed'
    this.#state = 'closed'
    this.#parts.room.close()
    while (this.#running) await this.#running
    const { fs, folder } = this.#parts.recovery
    // The durable end, written down: damage below it can then never pass for a torn tail.
    if (!failed) await writeSidecar(fs, folder, this.active, this.#segmentEnd()).catch(() => {})
    await this.#file?.close().catch(() => {})
    this.#file = undefined
  }

  async #run(): Promise<void> {
    do {
      // Callers that were just answered, or that came with the same turn of the event loop, join this write.
      await immediate()
      const batches = this.#take()
      try {
        const group = await this.#write(batches)
        this.#publish(group)
      } catch (error) {
        await this.#failed(batches, error)
      }
    } while (this.#queue.length > 0)
    this.#running = undefined
  }

  #take(): readonly Queued[] {
    let count = 0
    let bytes = 0
    for (const batch of this.#queue) {
      // A spilled batch is written alone.
      if (count > 0 && (batch.spill || bytes + batch.bytes > GROUP_BYTES_MAX)) break
      bytes += batch.bytes
      count++
      if (batch.spill) break
    }
    return this.#queue.splice(0, count)
  }

  async #write(batches: readonly Queued[]): Promise<Group> {
    if (!this.#file) await this.#reopen()
    await this.#parts.room.admit(bytesOf(batches))
    if (this.#isFull) await this.#roll()
    const placing = new Placing(this.active, this.#appendTimeMs, Math.floor(this.#parts.clock()))
    const { blocks } = placing
    const spill = batches[0]?.spill
    if (spill && this.#file) {
      const written = await this.#writeSpilled(batches[0]!, spill, placing)
      await this.#sync(this.#file)
      return { ...written, batches, buffers: [], blocks, appendTimeMs: placing.appendTimeMs }
    }
    const { appended, buffers } = await this.#stamp(batches, placing)
    if (buffers.length > 0 && this.#file) {
      await this.#file.write(buffers, this.active.bytes)
      await this.#sync(this.#file)
    }
    return { batches, appended, buffers, blocks, spilled: 0, appendTimeMs: placing.appendTimeMs }
  }

  /** A failure of this kind is never one of room, whatever its code says. */
  async #sync(file: File): Promise<void> {
    try {
      await file.datasync()
    } catch (error) {
      throw new SyncFailure(error)
    }
  }

  /** Gives positions and fills in headers. Small blocks are copied together, so that their buffers are free again. */
  async #stamp(batches: readonly Queued[], placing: Placing): Promise<Pick<Group, 'appended' | 'buffers'>> {
    const appended: Appended[] = []
    const buffers: Buffer[] = []
    const small = Buffer.allocUnsafeSlow(smallBytes(batches))
    let smallAt = 0
    let smallFrom = 0
    let unyielded = 0
    for (const batch of batches) {
      const first = placing.next
      placing.begin(batch)
      for (const { writer, count } of batch.blocks) {
        let bytes = writer.buffer.subarray(0, writer.at)
        if (bytes.length <= SMALL_BLOCK_BYTES_MAX) {
          bytes.copy(small, smallAt)
          bytes = small.subarray(smallAt, smallAt + bytes.length)
          smallAt += bytes.length
        } else {
          if (smallAt > smallFrom) buffers.push(small.subarray(smallFrom, smallAt))
          smallFrom = smallAt
          buffers.push(bytes)
        }
        placing.add(batch, bytes, count)
        unyielded += bytes.length
        if (unyielded > YIELD_BYTES) {
          unyielded = 0
          await immediate()
        }
      }
      appended.push({ first, last: placing.next - 1 })
    }
    if (smallAt > smallFrom) buffers.push(small.subarray(smallFrom, smallAt))
    return { appended, buffers }
  }

  /** A batch that was larger than memory should hold: piece by piece, and only then made durable. */
  async #writeSpilled(batch: Queued, spill: Spill, placing: Placing): Promise<Pick<Group, 'appended' | 'spilled'>> {
    const first = placing.next
    placing.begin(batch)
    let part = 0
    for await (const piece of spill.read(batch.markText)) {
      const { offset } = placing
      for (const bytes of piece) {
        placing.pass(batch, bytes, spill.blocks[part++]!.count)
        if (part % 2 === 0) await immediate()
      }
      await this.#file!.write(piece, offset)
    }
    const { offset } = placing
    const rest = batch.blocks.map(({ writer, count }) => {
      const bytes = writer.buffer.subarray(0, writer.at)
      placing.add(batch, bytes, count)
      return bytes
    })
    if (rest.length > 0) await this.#file!.write(rest, offset)
    return { appended: [{ first, last: placing.next - 1 }], spilled: part }
  }

  #publish(group: Group): void {
    const { tail, pool, room } = this.#parts
    const segment = this.active
    const bytesBefore = segment.bytes
    for (const [n, block] of group.blocks.entries()) {
      segment.note(block)
      if (n >= group.spilled) tail.push(segment, block)
    }
    if (group.blocks.length > 0) this.#appendTimeMs = group.appendTimeMs
    for (const [n, batch] of group.batches.entries()) {
      const appended = group.appended[n]!
      if (batch.mark) {
        this.marks.set(batch.mark.source, batch.mark)
        this.history.note(appended.last, batch.mark)
      }
      for (const { writer } of batch.blocks) if (writer.at <= SMALL_BLOCK_BYTES_MAX) pool.give(writer)
      batch.resolve(appended)
    }
    if (this.#state !== 'closed') this.#state = 'open'
    room.wrote(segment.bytes - bytesBefore)
    this.#parts.onDurable()
  }

  #segmentEnd() {
    return { appendTimeMs: this.#appendTimeMs, marks: this.marks }
  }

  async #roll(): Promise<void> {
    const { recovery } = this.#parts
    const { fs, folder } = recovery
    const before = this.active
    const segment = await this.#create(before.last + 1)
    const file = await fs.open(segment.path, 'write')
    await this.#file?.close()
    this.#file = file
    // After all that may fail: a segment that is noted is never made again.
    await noteNewest(recovery, segment.first)
    before.end = { appendTimeMs: this.#appendTimeMs, marks: new Map(this.marks) }
    this.segments.push(segment)
    this.#active = segment
    // Can always be made again; opening the log does so where it is missing.
    await writeSidecar(fs, folder, before, this.#segmentEnd()).catch(() => {})
    this.#parts.onClosed()
  }

  async #create(first: number): Promise<Segment> {
    const { recovery } = this.#parts
    try {
      return await createSegment(recovery, first)
    } catch (error) {
      throw isFull(error) ? new RoomFailure(error) : error
    }
  }

  async #failed(batches: readonly Queued[], error: unknown): Promise<void> {
    const refused = isLogFull(error) ? error : await this.#cleanUp(error, bytesOf(batches))
    // All that is queued goes with it: a later transaction of a source must not stand in the log without the earlier one.
    for (const batch of [...batches, ...this.#queue.splice(0)]) batch.reject(refused)
    // Whoever committed before it could hear of the refusal is refused too.
    await immediate()
    for (const batch of this.#queue.splice(0)) batch.reject(refused)
  }

  /** Takes out of the file what a failed write may have left there; gives what to answer. */
  async #cleanUp(error: unknown, bytes: number): Promise<Error> {
    const full = error instanceof RoomFailure || (isFull(error) && !(error instanceof SyncFailure))
    const cause = error instanceof RoomFailure || error instanceof SyncFailure ? error.cause : error
    const parts = { detail: textOf(cause), cause }
    if (full) {
      if (this.#state !== 'closed') this.#parts.room.foundFull(bytes)
      if (await this.#cutBack())
        return fail('LOG_FULL', 'no room to append to the log', { ...parts, data: { wantedBytes: bytes } })
    }
    if (this.#state !== 'closed') this.#state = 'failed'
    this.#parts.recovery.onEvent({ event: 'log-failed', message: textOf(cause) })
    await this.#abandon()
    await this.#reopen().catch(() => {})
    return fail('LOG_FAILED', 'cannot write to the log', parts)
  }

  /** Whether so many bytes can be written: tried where they would stand, and taken away again. */
  async #probe(bytes: number): Promise<boolean> {
    // What is being written now finds out by itself.
    if (this.#running || this.#state === 'closed') return false
    const probing = this.#tryRoom(bytes)
    this.#running = probing.finally(() => {
      this.#running = this.#queue.length > 0 ? this.#run() : undefined
    })
    return probing
  }

  async #tryRoom(bytes: number): Promise<boolean> {
    try {
      if (!this.#file) await this.#reopen()
      await this.#file?.write([Buffer.alloc(bytes)], this.active.bytes)
      return await this.#cutBack()
    } catch {
      if (!(await this.#cutBack())) await this.#abandon()
      return false
    }
  }

  async #cutBack(): Promise<boolean> {
    try {
      await this.#file?.truncate(this.active.bytes)
      // Without this a crash could bring back a batch that was refused, if the kernel had written it out already.
      await this.#file?.datasync()
      return true
    } catch {
      return false
    }
  }

  async #abandon(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => {})
  }

  /** @throws what the file system or the check of the durable bytes says; the next append tries again */
  async #reopen(): Promise<void> {
    const { recovery } = this.#parts
    const file = await recovery.fs.open(this.active.path, 'write')
    try {
      await verifySegment(file, this.active)
      await file.truncate(this.active.bytes)
      await file.datasync()
    } catch (error) {
      await file.close().catch(() => {})
      throw error
    }
    this.#file = file
    if (this.#state === 'failed') {
      this.#state = 'open'
      this.#parts.room.tell()
    }
  }
}

/** An fdatasync that failed: what is on disk is unknown, even where the reason was a lack of room. */
class SyncFailure extends Error {
  constructor(cause: unknown) {
    super(textOf(cause), { cause })
  }
}

/** No room for a new segment: the active one is untouched. */
class RoomFailure extends Error {
  constructor(cause: unknown) {
    super(textOf(cause), { cause })
  }
}

const isLogFull = (error: unknown): error is MainstemError => isMainstemError(error) && error.code === 'LOG_FULL'

const bytesOf = (batches: readonly Queued[]): number => batches.reduce((sum, batch) => sum + batch.bytes, 0)

export const closedError = () => fail('LOG_CLOSED', 'the log is closed')

function smallBytes(batches: readonly Queued[]): number {
  let bytes = 0
  for (const batch of batches) {
    for (const { writer } of batch.blocks) if (writer.at <= SMALL_BLOCK_BYTES_MAX) bytes += writer.at
  }
  return bytes
}
