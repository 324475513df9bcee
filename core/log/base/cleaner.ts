// Cleanings of one log, one after the other: says up to where one may go, has the new base written (clean-job.ts), and makes it
// the log's at one instant: by the rename of `base.json` on disk, and between two turns of the event loop in memory. What ends
// before that leaves the log as it was.
import { join } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { asMainstemError, fail, isMainstemError, type MainstemError, textOf } from '../../errors.ts'
import type { Background } from '../background.ts'
import { isFull } from '../file-system.ts'
import { raiseFormat } from '../identity.ts'
import type { CleanReport, CleanRequest, LogBase, LogHold, TopicHorizon } from '../log.ts'
import type { AnySegment, LogEvent, Recovery } from '../recovery.ts'
import { type Room, sizeText } from '../room.ts'
import type { SealedFiles } from '../sealed/sealed-files.ts'
import { parseSealedName, SealedSegment } from '../sealed/sealed-segment.ts'
import type { Compression } from '../sealed/sections.ts'
import { sidecarName } from '../sidecar.ts'
import type { Topics } from '../topics.ts'
import type { Turns } from '../turns.ts'
import { closedError } from '../writer.ts'
import { type CleanJob, closedFile } from './clean-job.ts'
import type { Leases } from './leases.ts'
import { baseOf, type Manifest, readManifest, writeManifest } from './manifest.ts'
import type { CleaningPlan } from './plan.ts'
import {
  type Figures,
  figuresOf,
  figuresWithout,
  type Horizons,
  horizonsIn,
  planOf,
  type Reach,
  reachOf,
} from './reach.ts'
import { temporaryOf } from './rewrite.ts'

export interface CleanerParts {
  readonly recovery: Recovery
  readonly topics: Topics
  readonly files: SealedFiles
  readonly leases: Leases
  readonly turns: Turns
  readonly background: Background
  readonly room: Room
  readonly base: LogBase
  readonly compression: Compression
  readonly segmentBytesMax: number
  /** For the keys of compacted topics, while their newest records are looked for. */
  readonly memoryBytesMax: number
  /** Called before and after the segments are replaced. */
  readonly onReplace: () => void
}

interface Hold {
  readonly name: string
  position: number
}

export class Cleaner {
  readonly #parts: CleanerParts
  readonly #holds = new Set<Hold>()
  #base: LogBase
  #stopped = false
  #running: Promise<unknown> = Promise.resolve()

  constructor(parts: CleanerParts) {
    this.#parts = parts
    this.#base = parts.base
  }

  get base(): LogBase {
    return this.#base
  }

  hold(name: string, position: number): LogHold {
    const hold: Hold = { name, position }
    this.#holds.add(hold)
    return {
      name,
      get position() {
        return hold.position
      },
      move: to => {
        hold.position = Math.max(hold.position, to)
      },
      release: () => {
        this.#holds.delete(hold)
      },
    }
  }

  /** @throws TOPIC_UNKNOWN, REQUEST_INVALID, LOG_FULL, LOG_FAILED, LOG_CORRUPT, LOG_CLOSED */
  async clean(request: CleanRequest): Promise<CleanReport> {
    const { recovery, topics } = this.#parts
    const trim = horizonsIn(topics, request.trim, 'topic')
    const compact = horizonsIn(topics, request.compact, 'table')
    const onEvent = request.dryRun ? () => {} : recovery.onEvent
    const done = this.#parts.turns.run(() => this.#clean(request, trim, compact))
    this.#running = done.catch(() => {})
    try {
      const report = await done
      if (report.bytesAfter !== report.bytesBefore) onEvent({ event: 'log-cleaned', ...report })
      return report
    } catch (error) {
      const known = cleanError(error)
      if (known.code !== 'LOG_CLOSED') onEvent(eventOf(known))
      throw known
    }
  }

  /** Ends what is under way; the log stays as it was before it. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  /** The closed segments up to where a cleaning may go now. */
  reach(request: CleanRequest): Reach {
    return reachOf(this.#parts.leases.live, this.#base.to, this.#holds, request)
  }

  async #clean(request: CleanRequest, trim: Horizons, compact: Horizons): Promise<CleanReport> {
    const beganMs = performance.now()
    await this.#pause()
    const { segments, to, limitedBy } = this.reach(request)
    const before = await figuresOf(segments)
    const reportOf = ({ records, bytes }: Figures) => ({
      generation: this.#base.generation,
      to,
      limitedBy,
      recordsBefore: before.records,
      recordsAfter: records,
      bytesBefore: before.bytes,
      bytesAfter: bytes,
      ms: Math.round(performance.now() - beganMs),
    })
    if (segments.length === 0) return reportOf(before)
    const plan = planOf(this.#parts.topics, to, trim, compact)
    if (request.dryRun) {
      const gone = await this.#parts.background.run('estimate', this.#job(segments, plan, 0, 0))
      return reportOf(await figuresWithout(segments, gone))
    }
    const files = await this.#write(segments, plan, horizonsOf(this.#base.topics, to, trim, compact))
    return reportOf(files ? await figuresOf(files) : before)
  }

  /** The new base's segments, once they are the log's; undefined where nothing would change. */
  async #write(
    segments: readonly AnySegment[],
    plan: CleaningPlan,
    topics: Manifest['topics'],
  ): Promise<readonly AnySegment[] | undefined> {
    const { recovery, background, room } = this.#parts
    const { fs, folder } = recovery
    const generation = await this.#nextGeneration()
    try {
      const bytesLeft = await room.forCleaning()
      const outcome = await background.run('clean', this.#job(segments, plan, generation, bytesLeft))
      if (!outcome) return undefined
      if ('wantedBytes' in outcome) throw noRoom(outcome.wantedBytes, bytesLeft)
      const { files } = outcome
      await raiseFormat(recovery)
      const written = files.filter(({ taken }) => !taken)
      for (const { name } of written) await fs.rename(temporaryOf(folder, name), join(folder, name))
      await fs.syncFolder(folder)
      const known = new Map(segments.map(segment => [segment.name, segment]))
      const opened = await Promise.all(files.map(({ name }) => known.get(name) ?? this.#open(name)))
      await this.#pause()
      const named = files.map(({ name, first, last }) => ({ name, first, last }))
      await this.#commit({ format: 1, generation, to: plan.to, segments: named, topics }, opened)
      return opened
    } catch (error) {
      if (!(await this.#mayBeNamed(generation))) await this.#discard(generation)
      throw error
    }
  }

  #job(segments: readonly AnySegment[], plan: CleaningPlan, generation: number, bytesLeft: number): CleanJob {
    const { recovery, topics, compression, segmentBytesMax, memoryBytesMax: memoryBytes } = this.#parts
    const { folder, identity } = recovery
    const { id, epoch } = identity
    return {
      folder,
      identity: { id, epoch },
      topics: topics.stored,
      compression,
      segmentBytesMax,
      memoryBytes,
      generation,
      segments: segments.map(closedFile),
      plan,
      bytesLeft,
    }
  }

  /** Takes away what was written for a base that is not to be. */
  async #discard(generation: number): Promise<void> {
    const { fs, folder } = this.#parts.recovery
    const names = await fs.list(folder).catch(() => [])
    const ours = names.filter(name => parseSealedName(name.replace(/\.tmp$/, ''))?.generation === generation)
    for (const name of ours) await fs.remove(join(folder, name)).catch(() => {})
  }

  /**
   * Whether the manifest on disk may be the new one, although writing it failed: by its name, which a crash may or may not take
   * back. Then the files of both stay; this process goes on with the old ones, the next one with what it finds.
   */
  async #mayBeNamed(generation: number): Promise<boolean> {
    const { fs, folder } = this.#parts.recovery
    try {
      return (await readManifest(fs, folder))?.generation === generation
    } catch {
      return true
    }
  }

  /** One that no file is of: not even of a cleaning whose manifest may or may not have reached the disk. */
  async #nextGeneration(): Promise<number> {
    const { fs, folder } = this.#parts.recovery
    const names = await fs.list(folder)
    return Math.max(this.#base.generation, ...names.map(name => parseSealedName(name)?.generation ?? 0)) + 1
  }

  async #open(name: string): Promise<SealedSegment> {
    const { recovery, files } = this.#parts
    const segment = new SealedSegment(files, recovery.folder, recovery.identity.id, parseSealedName(name)!)
    await segment.open()
    await segment.footer()
    return segment
  }

  async #commit(manifest: Manifest, segments: readonly AnySegment[]): Promise<void> {
    const { fs, folder } = this.#parts.recovery
    await writeManifest(fs, folder, manifest)
    this.#parts.onReplace()
    this.#base = baseOf(manifest)
    this.#parts.leases.replace(manifest.generation, manifest.to, segments)
    this.#parts.onReplace()
    // Appends that were refused go on at once.
    await this.#parts.room.look()
  }

  async #pause(): Promise<void> {
    await immediate()
    if (this.#stopped) throw closedError()
  }
}

/** Removes the file of a segment that a cleaning replaced. What cannot be removed goes at the next start. */
export async function removeReplaced({ fs, folder }: Recovery, files: SealedFiles, segment: AnySegment): Promise<void> {
  await segment.freed()
  if (segment instanceof SealedSegment) files.drop(segment.path)
  await fs.remove(segment.path).catch(() => {})
  if (!(segment instanceof SealedSegment)) await fs.remove(join(folder, sidecarName(segment.name))).catch(() => {})
}

/** What was removed so far, and what is removed now. */
function horizonsOf(
  known: LogBase['topics'],
  to: number,
  trim: Horizons,
  compact: Horizons,
): Record<string, TopicHorizon> {
  const horizons = new Map<string, TopicHorizon>(known)
  const raise = (name: string, field: keyof TopicHorizon, at: number) => {
    const before = horizons.get(name)
    const position = Math.max(before?.[field] ?? 0, Math.min(at, to))
    if (position > 0) horizons.set(name, { ...before, [field]: position })
  }
  for (const [{ name }, at] of trim) raise(name, 'trimmedTo', at)
  for (const [{ name }, at] of compact) raise(name, 'compactedTo', at)
  return Object.fromEntries(horizons)
}

function noRoom(wantedBytes: number, bytesLeft: number): MainstemError {
  return fail('LOG_FULL', 'no room to clean the log', {
    detail: `it would write about ${sizeText(wantedBytes)}, ${sizeText(bytesLeft)} are left on the volume above what stays free`,
    hint: 'free disk space, or clean a part of the log: give `mainstem log trim` or `compact` a --to',
    data: { wantedBytes, bytesLeft },
  })
}

function eventOf(error: MainstemError): LogEvent {
  const { wantedBytes, bytesLeft } = error.data ?? {}
  if (typeof wantedBytes !== 'number' || typeof bytesLeft !== 'number')
    return { event: 'log-clean-failed', message: textOf(error.cause ?? error) }
  return { event: 'log-clean-waits', wantedBytes, bytesLeft, message: `${error.message}: ${error.detail}` }
}

function cleanError(error: unknown): MainstemError {
  if (isMainstemError(error)) return error
  return asMainstemError(error, isFull(error) ? 'LOG_FULL' : 'LOG_FAILED', 'cannot clean the log')
}
