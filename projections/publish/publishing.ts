// The publishers of an engine: one for each projection that emits. Whoever folds hands over what was emitted slice by slice,
// pauses while too much is unpublished, and calls a checkpoint good only when all that is caused up to it is in the log.
import { fail, type Log, type MainstemError } from '../../core/index.ts'
import { keyCodecOf } from '../key-codec.ts'
import type { ProjectionDefinition } from '../projection.ts'
import type { Scheduler } from '../shards/scheduler.ts'
import { keysOf } from '../state/keys.ts'
import { type Emission, type Emitted, emittedTopic, inOrder } from './emissions.ts'
import { UNPUBLISHED_BYTES_MAX } from './limits.ts'
import { Publisher } from './publisher.ts'

/** One projection's. */
interface Emitter {
  readonly publisher: Publisher
  take(emissions: readonly Emission[]): void
}

export class Publishing {
  readonly #emitters = new Map<string, Emitter>()
  #waiters: (() => void)[] = []
  #released = false

  /**
   * @param log has the topics that are emitted to
   * @param onFailed told of a projection whose emissions can never be published
   */
  constructor(
    log: Log,
    scheduler: Scheduler,
    projections: readonly ProjectionDefinition[],
    onFailed: (projection: string, error: MainstemError) => void,
  ) {
    for (const definition of projections) {
      const { name, spec } = definition
      if (!spec.emits?.length) continue
      const topics = spec.emits.map(topic => {
        const found = log.findTopic(topic.name)
        if (found) return { ...emittedTopic(topic), topic: found }
        throw fail('TOPIC_UNKNOWN', `'${name}' emits to ${topic.name}, which the log does not have`)
      })
      const told = { onPublished: () => this.#wake(), onFailed: (error: MainstemError) => onFailed(name, error) }
      const publisher = new Publisher({ log, scheduler, projection: name, topics, ...told })
      const keys = keysOf(keyCodecOf(definition))
      this.#emitters.set(name, { publisher, take: emissions => publisher.take(inOrder(emissions, keys)) })
    }
  }

  /** By projection that emits: what is caused up to this position is published, and not to be handed over again. */
  get publishedUpTo(): ReadonlyMap<string, number> {
    return new Map([...this.#emitters].map(([name, { publisher }]) => [name, publisher.publishedUpTo]))
  }

  /** Takes what was emitted in one slice: all of each cause in it, in any order. Slices come in the order of the log. */
  take(emitted: readonly Emitted[]): void {
    for (const [projection, parts] of Map.groupBy(emitted, each => each.projection))
      this.#emitters.get(projection)?.take(parts.flatMap(({ emissions }) => emissions))
  }

  /** Folding is to pause, until `room` resolves. */
  get full(): boolean {
    if (this.#released) return false
    for (const { publisher } of this.#emitters.values()) if (publisher.bytes >= UNPUBLISHED_BYTES_MAX) return true
    return false
  }

  async room(): Promise<void> {
    while (this.full) await new Promise<void>(resolve => this.#waiters.push(resolve))
  }

  /** Resolves when all that is caused up to a position, and was handed over, is durable. */
  async durableThrough(position: number): Promise<void> {
    await Promise.all([...this.#emitters.values()].map(({ publisher }) => publisher.durableThrough(position)))
  }

  /** In words, what a projection's events wait for; null where nothing does. */
  waitingFor(projection: string): string | null {
    return this.#emitters.get(projection)?.publisher.waitingFor ?? null
  }

  /** Lets whoever waits for room go on. */
  release(): void {
    this.#released = true
    this.#wake()
  }

  /** Publishes what was handed over, unless the log takes no appends; then takes no more. */
  async stop(): Promise<void> {
    this.release()
    await Promise.all([...this.#emitters.values()].map(({ publisher }) => publisher.stop()))
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve()
  }
}
