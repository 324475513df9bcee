// Kills the application with SIGKILL, again and again, in each phase of its life, and starts it again at once on the same
// data folder. A plan says when: it is asked at every event that the application reports, so a kill hits the phase it is
// meant for and not a moment that a timer guessed.

import { setTimeout as wait } from 'node:timers/promises'
import type { ApplicationProcess } from './application-process.ts'
import type { ApplicationState, ProcessEvent } from './application-state.ts'

export const PHASES = ['snapshot', 'handover', 'restart', 'streaming', 'checkpoint'] as const
export type Phase = (typeof PHASES)[number]

/** A chaos run with fewer kills has not shown what it should. */
export const KILLS_MIN = 8
/** Once its views are level again after the last kill, the application runs on for a while under the same load. */
const CALM_MS_MIN = 5000
/** Views this close to the log's end are level with it: some records are always on their way. */
const LEVEL_RECORDS = 1000
/** How often a kill meant for a checkpoint may come too late, for each time that it must not. */
const CHECKPOINT_ATTEMPTS_MAX = 5

export interface Strike {
  readonly phase: Phase
  /** Milliseconds between the event and the kill. */
  readonly delayMs: number
}

/** One kill to come: `when` an event fits, or never once `missed`. */
interface Step extends Strike {
  readonly when: (event: ProcessEvent, state: ApplicationState) => boolean
  readonly missed?: (event: ProcessEvent, state: ApplicationState) => boolean
}

export class ChaosPlan {
  readonly #steps: Step[]
  readonly #random: () => number
  #attempts = CHECKPOINT_ATTEMPTS_MAX
  #last: Step | undefined

  constructor(random: () => number = Math.random) {
    this.#random = random
    const step = (phase: Phase, when: Step['when'], delayMs = 0): Step => ({ phase, delayMs, when })
    const whileSnapshots = (share: number): Step => ({
      phase: 'snapshot',
      delayMs: 0,
      when: (event, state) => event.event === 'snapshot-progress' && (state.snapshotShare ?? 0) >= share,
      missed: (_event, state) => state.snapshotsEnded,
    })
    const isEvent = (name: ProcessEvent['event']) => (event: ProcessEvent) => event.event === name
    // These follow upon another kill; where that one was missed, the process is an old one.
    const spawned = (delayMs: number): Step => ({
      ...step('restart', isEvent('spawned'), delayMs),
      missed: event => event.event !== 'spawned',
    })
    const listening = (delayMs: number): Step => ({
      ...step('restart', isEvent('listening'), delayMs),
      missed: (event, state) => state.listening && event.event !== 'listening',
    })
    const checkpoint = step('checkpoint', (event, state) => event.event === 'checkpoint-started' && state.streaming)
    this.#steps = [
      step('snapshot', isEvent('snapshot-started')),
      whileSnapshots(0.45),
      listening(100 * random()),
      // The first source to get there hands over while the other's snapshot goes on.
      { ...step('handover', isEvent('handover')), missed: (_event, state) => state.snapshotsEnded },
      whileSnapshots(0.9),
      { ...step('handover', isEvent('snapshot-ended')), missed: (_event, state) => state.streaming },
      step('handover', (event, state) => event.event === 'streaming' && state.streaming),
      this.#streaming(),
      checkpoint,
      // So young that it has not opened its data folder yet, or is just reading it.
      spawned(200 + 400 * random()),
      this.#streaming(),
      checkpoint,
      listening(300 * random()),
      this.#streaming(),
      this.#streaming(),
    ]
  }

  /** Every kill that was planned has come. */
  get done(): boolean {
    return this.#steps.length === 0
  }

  /** The kill that this event brings, if any. */
  next(event: ProcessEvent, state: ApplicationState): Strike | undefined {
    while (this.#steps[0]?.missed?.(event, state)) this.#steps.shift()
    const step = this.#steps[0]
    if (!step?.when(event, state)) return undefined
    this.#last = this.#steps.shift()
    return step
  }

  /** The last kill came after its checkpoint's end: again, some times. */
  repeat(): void {
    if (this.#last !== undefined && --this.#attempts > 0) this.#steps.unshift(this.#last)
  }

  #streaming(): Step {
    // Events of a streaming application come once a second and at each checkpoint.
    const when: Step['when'] = (event, state) => event.event === 'status' && state.streaming
    return { phase: 'streaming', delayMs: 2000 * this.#random(), when }
  }
}

/** Carries out a plan on a running application. */
export class Chaos {
  readonly kills: Record<Phase, number> = { snapshot: 0, handover: 0, restart: 0, streaming: 0, checkpoint: 0 }
  readonly #application: ApplicationProcess
  readonly #plan: ChaosPlan
  readonly #onKill: (phase: Phase) => void
  readonly #stop = new AbortController()
  readonly #fail: (error: unknown) => void
  /** Rejects where the application cannot be killed or started. */
  readonly failure: Promise<never>
  /** The longest time from a restart until every source streamed again, snapshots aside. */
  recoverySecondsMax = 0
  #striking: Promise<void> | undefined
  #spawnedMs = 0
  #levelSinceMs: number | undefined

  constructor(application: ApplicationProcess, plan: ChaosPlan, onKill: (phase: Phase) => void) {
    this.#application = application
    this.#plan = plan
    this.#onKill = onKill
    const { promise, reject } = Promise.withResolvers<never>()
    this.failure = promise
    this.#fail = reject
    promise.catch(() => undefined)
  }

  get total(): number {
    return PHASES.reduce((sum, phase) => sum + this.kills[phase], 0)
  }

  /** Everything planned has happened, and for a while since then the views have been level with the log. */
  get settled(): boolean {
    if (!this.#enough || this.#striking !== undefined || this.#levelSinceMs === undefined) return false
    return performance.now() - this.#levelSinceMs >= CALM_MS_MIN
  }

  get #enough(): boolean {
    return this.#plan.done && this.total >= KILLS_MIN
  }

  /** To be called with every event of the application. */
  readonly onEvent = (event: ProcessEvent): void => {
    this.#measure(event)
    if (this.#striking !== undefined || this.#stop.signal.aborted) return
    const strike = this.#plan.next(event, this.#application.state)
    if (strike === undefined) return
    this.#striking = this.#strike(strike).catch(this.#fail)
  }

  #measure(event: ProcessEvent): void {
    const nowMs = performance.now()
    if (event.event === 'spawned') {
      this.#spawnedMs = nowMs
      this.#levelSinceMs = undefined
    }
    const { state } = this.#application
    if (event.event === 'status' && state.streaming && event.logEnd - event.position <= LEVEL_RECORDS) {
      this.#levelSinceMs ??= nowMs
    }
    // Where a snapshot was still to be taken, that took the time.
    if (event.event === 'streaming' && state.streaming && this.total > 0 && state.snapshotRows === 0) {
      this.recoverySecondsMax = Math.max(this.recoverySecondsMax, (nowMs - this.#spawnedMs) / 1000)
    }
  }

  /** No more kills; resolves when none is under way. The application then runs, or starts. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#striking
  }

  async #strike({ phase, delayMs }: Strike): Promise<void> {
    const { signal } = this.#stop
    if (delayMs > 0) await wait(delayMs, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) {
      this.#striking = undefined
      return
    }
    await this.#application.kill()
    // What it wrote before it died is read by now: did the checkpoint end after all?
    const tooLate = phase === 'checkpoint' && !this.#application.state.checkpointing
    if (tooLate) this.#plan.repeat()
    const hit = tooLate ? 'streaming' : phase
    this.kills[hit]++
    this.#onKill(hit)
    this.#striking = undefined
    this.#application.start()
  }
}
