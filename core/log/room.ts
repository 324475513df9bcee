// How much room the log has: by its own limit, and by what must stay free on its volume. It says before each write whether that
// is taken, when sources should pause (before appends are refused, so that the rest is the application's), and looks again by
// itself while something waits. Figures come from memory; the volume is asked once per MiB appended, and while nothing is taken.
import { fail, type MainstemError } from '../errors.ts'
import type { FileSystem, VolumeSpace } from './file-system.ts'
import {
  FREE_BYTES_MIN,
  FREE_SHARE_MIN,
  GROUP_BYTES_MAX,
  LOOK_BYTES,
  NEARLY_FULL_SHARE,
  ROOM_CHECK_MS,
  ROOMY_SHARE,
} from './limits.ts'
import type { LogStatus } from './log.ts'
import type { LogEvent } from './recovery.ts'

export interface RoomParts {
  readonly fs: FileSystem
  readonly folder: string
  /** What the segments may have together. Default: no limit. */
  readonly bytesMax: number | undefined
  /** What appends leave free on the volume. Default: 256 MiB, or a twentieth of a smaller volume. */
  readonly freeBytesMin: number | undefined
  readonly segmentBytesMax: number
  readonly checkMs?: number | undefined
  /** What the segments have. */
  readonly usedBytes: () => number
  readonly onEvent: (event: LogEvent) => void
}

/** open; sources pause; appends are refused because of a figure; because a write found no room. */
type Level = 'open' | 'nearly-full' | 'limited' | 'full'

interface Waiting {
  readonly bytes: number
  readonly resolve: () => void
}

export class Room {
  readonly #parts: RoomParts
  readonly #waiting = new Set<Waiting>()
  readonly #listeners = new Set<(pressure: string | null) => void>()
  #volume: VolumeSpace = UNKNOWN_VOLUME
  #used = 0
  /** Appended since the last look. */
  #since = 0
  #level: Level = 'open'
  /** What was refused when a write last found no room. */
  #fullBytes = 0
  #timer: NodeJS.Timeout | undefined
  #checking = false
  #closed = false
  /** Tries to write so many bytes: the only way to know that a disk that was full takes some again. */
  probe: (bytes: number) => Promise<boolean> = async () => true

  constructor(parts: RoomParts) {
    this.#parts = parts
  }

  get state(): 'open' | 'limited' | 'full' {
    return this.#level === 'nearly-full' ? 'open' : this.#level
  }

  /** What is still taken, as of the last look: never below 0. */
  get bytesLeft(): number {
    return Math.max(0, Math.min(this.#limitLeft, this.#volumeLeft))
  }

  get #limitLeft(): number {
    return (this.#parts.bytesMax ?? Number.POSITIVE_INFINITY) - this.#used - this.#since
  }

  get #volumeLeft(): number {
    return this.#volume.free - this.#since - this.#freeMin
  }

  get #freeMin(): number {
    return this.#parts.freeBytesMin ?? Math.min(FREE_BYTES_MIN, this.#volume.total * FREE_SHARE_MIN)
  }

  /** Once appends were refused they are taken again with so much room, enough for any usual write: no flapping at the edge. */
  get #reserve(): number {
    return Math.min(GROUP_BYTES_MAX, (this.#parts.bytesMax ?? this.#volume.total) / 50)
  }

  /**
   * What a cleaning may write, as of a look now. The limit does not count: it is what a cleaning makes room under. What is to stay
   * free on the volume does.
   */
  async forCleaning(): Promise<number> {
    await this.look()
    return Math.max(0, this.#volumeLeft)
  }

  /** In words, why sources should pause; null while there is room. */
  get pressure(): string | null {
    return this.#level === 'open' ? null : this.#text()
  }

  /** How full: `room in the log: 45.1 of 50 GB`. */
  #text(): string {
    const { bytesMax } = this.#parts
    if (this.#level === 'full') return 'room on the disk of the log'
    const used = this.#used + this.#since
    // While only nearly full the volume may be what is short, though the limit leaves less.
    const isShort = this.#level === 'limited' || used > (bytesMax ?? 0) * ROOMY_SHARE
    if (bytesMax !== undefined && this.#limitLeft <= this.#volumeLeft && isShort)
      return `room in the log: ${sizeOf(used, bytesMax)}`
    const free = Math.max(0, this.#volume.free - this.#since)
    return `room on the volume of the log: ${sizeText(free)} left, ${sizeText(this.#freeMin)} of them stay free`
  }

  status(): Pick<LogStatus, 'bytesMax' | 'bytesLeft' | 'waitingFor'> {
    const left = this.bytesLeft
    return {
      bytesMax: this.#parts.bytesMax ?? null,
      bytesLeft: left === Number.POSITIVE_INFINITY ? null : left,
      waitingFor: this.pressure,
    }
  }

  /** To be asked before each write. @throws LOG_FULL */
  async admit(bytes: number): Promise<void> {
    if (this.#since + bytes > LOOK_BYTES || bytes > this.bytesLeft || this.#level === 'limited') await this.look()
    if (bytes <= this.bytesLeft && this.#level !== 'limited') return
    const refused = this.#refusal(bytes)
    if (this.bytesLeft < this.#reserve) this.#enter('limited')
    this.#watch()
    throw refused
  }

  /** So many bytes were written. */
  wrote(bytes: number): void {
    this.#since += bytes
    this.#enter(this.#levelNow())
  }

  /** A write of so many bytes found no room, whatever the figures say. */
  foundFull(bytes: number): void {
    this.#fullBytes = bytes
    this.#enter('full')
  }

  #refusal(bytes: number): MainstemError {
    const { bytesMax } = this.#parts
    const byLimit = bytesMax !== undefined && this.#limitLeft <= this.#volumeLeft
    const free = Math.max(0, this.#volume.free - this.#since)
    return fail('LOG_FULL', byLimit ? 'the log has reached its limit' : 'the volume of the log is nearly full', {
      detail: byLimit
        ? `the log has ${sizeOf(this.#used + this.#since, bytesMax)}, this append ${sizeText(bytes)}`
        : `${sizeText(free)} are left, ${sizeText(this.#freeMin)} of them stay free, this append has ${sizeText(bytes)}`,
      hint: `${byLimit ? 'raise --log-limit' : 'free disk space, lower --log-free-min'}, give topics a \`retain\`, or use \`mainstem log trim\` or \`mainstem log compact\`; appends go on by themselves then`,
      data: { wantedBytes: bytes, bytes: this.#used + this.#since, ...(byLimit ? { bytesMax } : {}) },
    })
  }

  /** Looks at the figures anew. */
  async look(): Promise<void> {
    const { fs, folder, usedBytes } = this.#parts
    // Where the volume says nothing only the limit counts.
    const volume = await fs.space(folder).catch(() => UNKNOWN_VOLUME)
    this.#volume = volume
    this.#used = usedBytes()
    this.#since = 0
    this.#judge()
  }

  /** What the figures mean; a disk that was full is so until a write has shown that it is not. */
  #judge(): void {
    this.#enter(this.#level === 'full' ? 'full' : this.#levelNow())
  }

  #levelNow(): Level {
    const left = Math.min(this.#limitLeft, this.#volumeLeft)
    if (left <= 0 || (this.#level === 'limited' && left < this.#reserve)) return 'limited'
    return this.#isNearlyFull() ? 'nearly-full' : 'open'
  }

  /** With some distance between where it begins and where it ends, so that sources do not stop and go. */
  #isNearlyFull(): boolean {
    const { bytesMax = Number.POSITIVE_INFINITY, segmentBytesMax } = this.#parts
    const headroom = Math.min(segmentBytesMax, this.#volume.total * FREE_SHARE_MIN)
    const used = this.#used + this.#since
    return this.#level !== 'open'
      ? used > bytesMax * ROOMY_SHARE || this.#volumeLeft < headroom * 1.5
      : used > bytesMax * NEARLY_FULL_SHARE || this.#volumeLeft < headroom
  }

  #enter(level: Level): void {
    if (this.#waiting.size > 0) this.#wake()
    if (level === this.#level) return
    const wasOpen = this.#level === 'open'
    this.#level = level
    this.tell()
    if (wasOpen || level === 'open') this.#notify()
    this.#wake()
  }

  /** Says how things stand. */
  tell(): void {
    const { onEvent, bytesMax = null } = this.#parts
    const message = this.#level === 'open' ? this.#openText() : this.#text()
    onEvent({ event: `log-${this.#level}`, bytes: this.#used + this.#since, bytesMax, message })
  }

  #openText(): string {
    const { bytesMax } = this.#parts
    const bytes = this.#used + this.#since
    return `the log has ${bytesMax === undefined ? sizeText(bytes) : sizeOf(bytes, bytesMax)}`
  }

  #notify(): void {
    const { pressure } = this
    for (const listener of [...this.#listeners]) listener(pressure)
  }

  onPressure(listener: (pressure: string | null) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Resolves when so many bytes would be taken; rejects with the signal's reason. */
  wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#wouldTake(bytes)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting.delete(waiting)
        this.#watch()
        reject(signal?.reason)
      }
      const waiting: Waiting = {
        bytes,
        resolve: () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.add(waiting)
      this.#watch()
    })
  }

  #wouldTake(bytes: number): boolean {
    return this.#closed || (this.state === 'open' && bytes <= this.bytesLeft)
  }

  #wake(): void {
    for (const waiting of [...this.#waiting]) {
      if (!this.#wouldTake(waiting.bytes)) continue
      this.#waiting.delete(waiting)
      waiting.resolve()
    }
    this.#watch()
  }

  /** Looks again now and then, as long as there is something to wait for. */
  #watch(): void {
    const needed = !this.#closed && (this.#level !== 'open' || this.#waiting.size > 0)
    if (!needed) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    this.#timer ??= setInterval(() => void this.#check(), this.#parts.checkMs ?? ROOM_CHECK_MS)
    // Room may come from outside: who waits for it keeps the process alive.
    if (this.#waiting.size > 0) this.#timer.ref()
    else this.#timer.unref()
  }

  async #check(): Promise<void> {
    if (this.#checking) return
    this.#checking = true
    await this.look()
    const bytes = Math.min(GROUP_BYTES_MAX, this.#fullBytes)
    // The figures of a full disk may not know of a quota: only a write tells.
    if (this.#level === 'full' && !this.#closed && bytes <= this.bytesLeft && (await this.probe(bytes)))
      this.#enter(this.#levelNow())
    this.#checking = false
    this.#watch()
  }

  /** Lets all go that wait. */
  close(): void {
    this.#closed = true
    this.#wake()
    this.#listeners.clear()
  }
}

const UNKNOWN_VOLUME: VolumeSpace = { free: Number.POSITIVE_INFINITY, total: Number.POSITIVE_INFINITY }

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB']

function unitOf(bytes: number): number {
  let unit = 0
  while (unit < UNITS.length - 1 && bytes >= 1_000 ** (unit + 1)) unit++
  return unit
}

const figure = (bytes: number, unit: number): string => {
  const value = bytes / 1_000 ** unit
  return String(unit === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1)))
}

/** `45.1 GB` */
export const sizeText = (bytes: number): string => `${figure(bytes, unitOf(bytes))} ${UNITS[unitOf(bytes)]}`

/** `45.1 of 50 GB` */
const sizeOf = (bytes: number, of: number): string =>
  `${figure(bytes, unitOf(of))} of ${figure(of, unitOf(of))} ${UNITS[unitOf(of)]}`
