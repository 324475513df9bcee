// Cleanings of one log, one after the other: says up to where one may go, has the new base written (clean-job.ts), and makes it
// the log's at one instant: by the rename of `base.json` on disk, and between two turns of the event loop in memory. What ends
// before that leaves the log as it was.
import { join } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { asMainstemError, fail, isMainstemError, textOf } from '../../errors.ts'
import type { Background } from '../background.ts'
import { CONTROL_TOPIC } from '../control-topic.ts'
import { isFull } from '../file-system.ts'
import { raiseFormat } from '../identity.ts'
import type { CleanReport, CleanRequest, LogBase, LogHold, TopicHorizon } from '../log.ts'
import type { AnySegment, Recovery } from '../recovery.ts'
import type { SealedFiles } from '../sealed/sealed-files.ts'
import { parseSealedName, SealedSegment } from '../sealed/sealed-segment.ts'
import type { Compression } from '../sealed/sections.ts'
import type { Segment } from '../segment.ts'
import { sidecarName } from '../sidecar.ts'
import type { TopicEntry, Topics } from '../topics.ts'
import type { Turns } from '../turns.ts'
import { closedError } from '../writer.ts'
import type { CleanJob, ClosedFile } from './clean-job.ts'
import type { Leases } from './leases.ts'
import { baseOf, type Manifest, readManifest, writeManifest } from './manifest.ts'
import type { CleaningPlan } from './plan.ts'
import { temporaryOf } from './rewrite.ts'
import { recordsIn } from './source-blocks.ts'

export interface CleanerParts {
  readonly recovery: Recovery
  readonly topics: Topics
  readonly files: SealedFiles
  readonly leases: Leases
  readonly turns: Turns
  readonly background: Background
  readonly base: LogBase
  readonly compression: Compression
  readonly segmentBytesMax: number
  /** For the keys of compacted topics, while their newest records are looked for. */
  readonly memoryBytesMax: number
}

interface Hold {
  readonly name: string
  position: number
}

type Horizons = ReadonlyMap<TopicEntry, number>

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
    const trim = this.#horizons(request.trim ?? {}, 'topic')
    const compact = this.#horizons(request.compact ?? {}, 'table')
    const { onEvent } = this.#parts.recovery
    const done = this.#parts.turns.run(() => this.#clean(request, trim, compact))
    this.#running = done.catch(() => {})
    try {
      const report = await done
      if (report.bytesAfter !== report.bytesBefore) onEvent({ event: 'log-cleaned', ...report })
      return report
    } catch (error) {
      const known = cleanError(error)
      if (known.code !== 'LOG_CLOSED') onEvent({ event: 'log-clean-failed', message: textOf(known.cause ?? known) })
      throw known
    }
  }

  /** Ends what is under way; the log stays as it was before it. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  #horizons(asked: Readonly<Record<string, number>>, kind: 'topic' | 'table'): Horizons {
    const horizons = new Map<TopicEntry, number>()
    for (const [name, position] of Object.entries(asked)) {
      const topic = this.#parts.topics.find(name)
      if (!topic) throw fail('TOPIC_UNKNOWN', `the log has no topic '${name.slice(0, 100)}'`)
      if (topic.stored.kind !== kind || name === CONTROL_TOPIC) {
        throw fail('REQUEST_INVALID', kind === 'topic' ? `${name} cannot be trimmed` : `${name} cannot be compacted`, {
          detail: kind === 'topic' ? 'only topics of events are trimmed' : 'only tables are compacted',
        })
      }
      if (!(position >= 0)) throw fail('REQUEST_INVALID', `${position} is not a position`)
      horizons.set(topic, Math.floor(position))
    }
    return horizons
  }

  /** The closed segments up to where a cleaning may go now. */
  reach({ to = Number.POSITIVE_INFINITY, force = false }: CleanRequest) {
    let limitedBy: CleanReport['limitedBy']
    let most = to
    for (const { name, position } of force ? [] : this.#holds) {
      if (position >= most) continue
      most = position
      limitedBy = { name, position }
    }
    const closed = this.#parts.leases.live.slice(0, -1)
    const segments = closed.filter(({ last }) => last <= most)
    if (segments.length === closed.length) limitedBy = undefined
    const reached = segments.at(-1)?.last ?? 0
    return reached < this.#base.to ? { segments: [], to: 0, limitedBy } : { segments, to: reached, limitedBy }
  }

  async #clean(request: CleanRequest, trim: Horizons, compact: Horizons): Promise<CleanReport> {
    const beganMs = performance.now()
    await this.#pause()
    const { segments, to, limitedBy } = this.reach(request)
    const { generation } = this.#base
    const before = await figures(segments)
    const report = {
      generation,
      to,
      limitedBy,
      ...before,
      recordsAfter: before.recordsBefore,
      bytesAfter: before.bytesBefore,
    }
    const ended = () => ({ ms: Math.round(performance.now() - beganMs) })
    if (segments.length === 0) return { ...report, ...ended() }
    const topics = horizonsOf(this.#base.topics, to, trim, compact)
    const files = await this.#write(segments, this.#plan(to, trim, compact), topics)
    if (!files) return { ...report, ...ended() }
    const after = await figures(files)
    return {
      ...report,
      generation: this.#base.generation,
      recordsAfter: after.recordsBefore,
      bytesAfter: after.bytesBefore,
      ...ended(),
    }
  }

  #plan(to: number, trim: Horizons, compact: Horizons): CleaningPlan {
    const ids = (horizons: Horizons) => [...horizons].map(([{ id }, at]) => [id, Math.min(at, to)] as const)
    const control = this.#parts.topics.find(CONTROL_TOPIC)
    // What sources say of themselves is state, not history: only the last word of each is asked for.
    return {
      to,
      trim: new Map(ids(trim)),
      compact: new Map([...ids(compact), ...(control ? [[control.id, to] as const] : [])]),
    }
  }

  /** The new base's segments, once they are the log's; undefined where nothing would change. */
  async #write(
    segments: readonly AnySegment[],
    plan: CleaningPlan,
    topics: Manifest['topics'],
  ): Promise<readonly AnySegment[] | undefined> {
    const { recovery, background } = this.#parts
    const { fs, folder } = recovery
    const generation = await this.#nextGeneration()
    try {
      const files = await background.run('clean', this.#job(segments, plan, generation))
      if (!files) return undefined
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

  #job(segments: readonly AnySegment[], plan: CleaningPlan, generation: number): CleanJob {
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
    this.#base = baseOf(manifest)
    this.#parts.leases.replace(manifest.generation, manifest.to, segments)
  }

  async #pause(): Promise<void> {
    await immediate()
    if (this.#stopped) throw closedError()
  }
}

/** Removes the file of a segment that a cleaning replaced. What cannot be removed goes at the next start. */
export async function removeReplaced({ fs, folder }: Recovery, files: SealedFiles, segment: AnySegment): Promise<void> {
  if (segment instanceof SealedSegment) files.drop(segment.path)
  else await (segment as Segment).freed()
  await fs.remove(segment.path).catch(() => {})
  if (!(segment instanceof SealedSegment)) await fs.remove(join(folder, sidecarName(segment.name))).catch(() => {})
}

function closedFile(segment: AnySegment): ClosedFile {
  if (segment instanceof SealedSegment) {
    const { first, generation } = segment
    return { kind: 'sealed', name: { first, generation } }
  }
  const { path, first, last, bytes, seed, end = { appendTimeMs: 0, marks: new Map() } } = segment
  return { kind: 'hot', hot: { path, first, last, bytes, seed }, end }
}

async function figures(segments: readonly AnySegment[]) {
  let recordsBefore = 0
  for (const segment of segments) recordsBefore += await recordsIn(segment)
  return { recordsBefore, bytesBefore: segments.reduce((sum, { bytes }) => sum + bytes, 0) }
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

function cleanError(error: unknown) {
  if (isMainstemError(error)) return error
  return asMainstemError(error, isFull(error) ? 'LOG_FULL' : 'LOG_FAILED', 'cannot clean the log')
}
