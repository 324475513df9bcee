// The states of a decider's streams, on which commands are decided: each exactly as of its stream's newest event. What was decided last
// is kept here; else the live view has it, where it has come to that event; else the stream's events are folded anew.
import type { AnyRow } from '../contract/index.ts'
import { fail } from '../errors.ts'
import type { Log, LogTopic, StreamRecord, Streams } from '../log/index.ts'
import { STATES_BYTES_MAX } from './limits.ts'

/** A state as bytes, so that nobody changes it; undefined before the first event. */
export type StateBytes = Uint8Array | undefined

/** Folds a decider's events, as its view does. */
export interface StateFold {
  /** @throws HANDLER_FAILED, HANDLER_IMPURE, HANDLER_ASYNC, STATE_INVALID: what `evolve` did */
  fold(key: unknown, state: StateBytes, events: readonly AnyRow[]): Uint8Array
  /** An object of the caller's own. */
  read(state: StateBytes): AnyRow
  /** A stream's row in the live view, as of the cut it is at; undefined where it cannot be had now, or other code made it. */
  live(key: unknown): Promise<{ readonly position: number; readonly state: StateBytes } | undefined>
}

/** A stream as of its newest event. */
export interface StreamState {
  readonly state: StateBytes
  /** How many events it has had. */
  readonly version: number
  /** Of its newest event; 0 where it has none. */
  readonly position: number
}

/** Events that are folded at a time. */
const FOLDED_AT_ONCE = 256
/** What an entry takes beside its state, about. */
const ENTRY_BYTES = 200

/** The states of one decider. Whoever asks for one, or changes it, does so alone for its stream. */
export class StreamStates {
  readonly #log: Streams
  readonly #topic: LogTopic
  readonly #fold: StateFold
  readonly #kept: KeptStates

  constructor(log: Log & Streams, topic: LogTopic, fold: StateFold, kept: KeptStates) {
    this.#log = log
    this.#topic = topic
    this.#fold = fold
    this.#kept = kept
  }

  /** @param id of the stream @throws as `StateFold.fold`; VIEW_REBUILDING where its beginning is gone from the log; LOG_CORRUPT */
  async of(id: string, key: unknown): Promise<StreamState> {
    const kept = this.#kept.get(id)
    if (kept) return kept
    const found = await this.#find(key)
    this.#kept.set(id, found)
    return found
  }

  set(id: string, state: StreamState): void {
    this.#kept.set(id, state)
  }

  /** What is kept may not be what the log has. */
  forget(id: string): void {
    this.#kept.delete(id)
  }

  async #find(key: unknown): Promise<StreamState> {
    let newest: StreamRecord | undefined
    for await (const record of this.#log.stream(this.#topic, key, { backwards: true, limit: 1 })) newest = record
    const version = newest?.version ?? (await this.#log.lastVersion(this.#topic, key))
    if (version === 0) return { state: undefined, version, position: 0 }
    if (newest !== undefined) {
      const live = await this.#fold.live(key)
      if (live && live.position >= newest.position) return { state: live.state, version, position: newest.position }
    }
    return this.#foldAll(key, version)
  }

  async #foldAll(key: unknown, version: number): Promise<StreamState> {
    let state: StateBytes
    let position = 0
    let next = 1
    let events: AnyRow[] = []
    const flush = () => {
      if (events.length > 0) state = this.#fold.fold(key, state, events)
      events = []
    }
    for await (const record of this.#log.stream(this.#topic, key)) {
      if (record.version !== next++) break
      position = record.position
      if (events.push(record.event) === FOLDED_AT_ONCE) flush()
    }
    flush()
    if (next === version + 1) return { state, version, position }
    throw fail('VIEW_REBUILDING', `the state of a stream of ${this.#topic.name} is not known now`, {
      detail: `events of it were removed from the log, and the view '${this.#topic.name}' has not come to the newest one`,
    })
  }
}

/** States used last, of all deciders, within a bound of memory. */
export class KeptStates {
  readonly #states = new Map<string, StreamState>()
  #bytes = 0

  get(id: string): StreamState | undefined {
    const kept = this.#states.get(id)
    if (kept === undefined) return undefined
    // The newest stand last.
    this.#states.delete(id)
    this.#states.set(id, kept)
    return kept
  }

  set(id: string, state: StreamState): void {
    this.delete(id)
    this.#states.set(id, state)
    this.#bytes += bytesOf(id, state)
    for (const oldest of this.#states.keys()) {
      if (this.#bytes <= STATES_BYTES_MAX) break
      this.delete(oldest)
    }
  }

  delete(id: string): void {
    const kept = this.#states.get(id)
    if (kept === undefined) return
    this.#bytes -= bytesOf(id, kept)
    this.#states.delete(id)
  }
}

const bytesOf = (id: string, { state }: StreamState): number => ENTRY_BYTES + id.length + (state?.length ?? 0)
