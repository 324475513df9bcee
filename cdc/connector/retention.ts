// What a server keeps of its log because a source has not read it: measured now and then, beside whatever attempt is under way, so
// that a source which is paused, retries or has failed is watched as well. Beyond a limit the server is told to forget: a
// source that has to be read again is better than a database whose disk is full.
import { fail, type Log, type LogTopic, type MainstemError, recordSourceEvent, reportOf } from '../../core/index.ts'
import { repair } from './start.ts'
import type { Probe, Technology } from './technology.ts'

const CHECK_EVERY_MS = 2_000
/** The alarm ends below this share of where it begins. */
const CALM_SHARE = 0.8

export interface RetentionParts<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly eventsTopic: LogTopic
  /** Up to where the source has been read. */
  readonly position: () => string
  /** The limit is exceeded: called once, before the server is told to forget. */
  readonly onExceeded: (error: MainstemError) => Promise<void>
}

export class RetentionGuard<P> {
  readonly #parts: RetentionParts<P>
  readonly #probe: Probe<P>
  #timer: NodeJS.Timeout | undefined
  #checking: Promise<void> | undefined
  #looked = false
  #alarm = false
  #exceeded: MainstemError | undefined
  #heldBytes: number | null = null

  constructor(parts: RetentionParts<P>) {
    this.#parts = parts
    this.#probe = parts.technology.openProbe()
  }

  get heldBytes(): number | null {
    return this.#heldBytes
  }

  start(): void {
    if (!this.#parts.technology.retention) return
    this.#timer = setInterval(() => this.#check(), CHECK_EVERY_MS)
    this.#check()
  }

  #check(): void {
    this.#checking ??= this.#look().finally(() => {
      this.#checking = undefined
    })
  }

  async #look(): Promise<void> {
    const { retention, source, onEvent } = this.#parts.technology
    const held = await this.#probe.held?.()
    this.#heldBytes = held ?? null
    const isFirst = !this.#looked
    this.#looked = true
    if (held === undefined || !retention) return
    if (isFirst) onEvent({ event: 'source-behind', source, bytes: held })
    const { alarmBytes, bytesMax } = retention
    if (this.#alarm ? held < alarmBytes * CALM_SHARE : held >= alarmBytes) {
      this.#alarm = !this.#alarm
      onEvent({ event: this.#alarm ? 'source-log-held' : 'source-log-read', source, bytes: held, bytesMax })
    }
    if (bytesMax !== null && held > bytesMax) await this.#release(held, bytesMax)
  }

  /** Tried again at the next look where the server cannot be told. */
  async #release(held: number, bytesMax: number): Promise<void> {
    const { technology, onExceeded } = this.#parts
    if (!this.#exceeded) {
      this.#exceeded = exceeded(technology, held, bytesMax)
      await onExceeded(this.#exceeded)
    }
    if (!(await this.#probe.release?.())) return
    this.#heldBytes = null
    clearInterval(this.#timer)
    await this.#say(this.#exceeded)
  }

  async #say(error: MainstemError): Promise<void> {
    const { technology, log, eventsTopic, position } = this.#parts
    const { source, onEvent } = technology
    const batch = log.batch()
    const { detail = null } = error
    recordSourceEvent(batch, eventsTopic, { source, event: 'log-released', position: position(), detail })
    // A log without room for it is no reason not to say it.
    await batch.commit().catch(() => {})
    onEvent({ event: 'source-failed', source, ...reportOf(error) })
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#probe.end()
    await this.#checking
  }
}

const exceeded = <P>({ source, slot }: Technology<P>, held: number, bytesMax: number): MainstemError =>
  fail('SOURCE_SLOT_LOST', `the server kept too much of its log for ${source}: it was told to forget`, {
    detail: `slot ${slot} held ${held} bytes, the limit is ${bytesMax}; changes that were not read are lost`,
    hint: repair(source),
    data: { heldBytes: held, heldBytesMax: bytesMax },
  })
