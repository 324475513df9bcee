// Outbox tables beside the stream: the events that stood in them before the source was read for the first time, and the rows that go
// once their events are in the log.
//
// A row is deleted only where it was seen in the table at a moment that the log has passed since: then its insert is in the log,
// whoever crashed when. So nothing has to be remembered of what was read, and rows from before a crash go like any other.
import { setTimeout as wait } from 'node:timers/promises'
import { type Batch, type Mirror, type ParkedEvent, textOf } from '../../core/index.ts'
import type { Positions } from './positions.ts'
import type { CheckedTopic, OutboxTables, Snapshot, Technology } from './technology.ts'

/** How long rows may stay at most once their events are in the log, about. */
const SWEEP_EVERY_MS = 1_000
const RETRY_MS = 5_000
const PASSED_LOOK_MS = 25
/** Rows looked at in one sweep, and deleted by one statement. */
const SWEEP_ROWS = 5_000
const DELETE_ROWS = 500
/** A batch that holds more is moved to disk. */
const SPILL_BYTES = 16 * 1024 * 1024

/** Rows of this outbox go once their events are in the log. */
const goes = ({ captured: { declared } }: CheckedTopic): boolean =>
  declared.origin.kind === 'outbox' && !declared.origin.keep

/**
 * Adds the events of what stands in outbox tables to a batch: of those that the log does not know yet, and of those whose rows go,
 * since what is still there may not be in it. @returns what to do when the batch is durable, given its first position
 */
export async function readOutboxes<P>(
  batch: Batch,
  parts: { readonly mirror: Mirror; readonly snapshot: Snapshot<P>; readonly topics: readonly CheckedTopic[] },
): Promise<(position: string, first: number) => void> {
  const { mirror, snapshot, topics } = parts
  const known = mirror.control.tables
  const parked: ParkedEvent[] = []
  for (const topic of topics) {
    const { name } = topic.captured.topic
    if (topic.captured.declared.origin.kind !== 'outbox' || (name in known && !goes(topic))) continue
    for await (const rows of snapshot.readOutbox?.(topic) ?? []) {
      for (const raw of rows) {
        const refused = mirror.events.get(name)?.record(batch, topic.reader.fromRaw(raw))
        if (refused) parked.push(refused)
      }
      if (batch.memoryBytes > SPILL_BYTES) await batch.spill()
    }
  }
  return (position, first) => {
    for (const { events, row, index } of parked) events.place(row, position, first + index)
  }
}

export interface SweeperParts<P> {
  readonly technology: Technology<P>
  readonly tables: OutboxTables<P>
  readonly topics: readonly CheckedTopic[]
  readonly positions: Positions<P>
  /** Everything up to here is in the log. */
  readonly complete: () => P
  /** Events of a topic that were recorded so far: a change means that there are rows to go. */
  readonly recorded: (topic: string) => number
}

export class OutboxSweeper<P> {
  readonly #parts: SweeperParts<P>
  readonly #stopping = new AbortController()
  #running: Promise<unknown> = Promise.resolve()

  constructor(parts: SweeperParts<P>) {
    this.#parts = parts
  }

  start(): void {
    const sweeping = this.#parts.topics.filter(goes).map(topic => this.#sweepFor(topic))
    this.#running = Promise.all(sweeping)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #sweepFor(topic: CheckedTopic): Promise<void> {
    const { signal } = this.#stopping
    const { technology, recorded } = this.#parts
    const { name } = topic.captured.topic
    // What an earlier process left.
    let swept = -1
    let told = ''
    while (!signal.aborted) {
      const seen = recorded(name)
      let pauseMs = SWEEP_EVERY_MS
      try {
        if (seen !== swept && (await this.#sweep(topic)) < SWEEP_ROWS) swept = seen
        told = ''
      } catch (error) {
        if (signal.aborted) return
        pauseMs = RETRY_MS
        const message = textOf(error)
        if (message !== told)
          technology.onEvent({ event: 'outbox-waits', source: technology.source, topic: name, message })
        told = message
      }
      await wait(pauseMs, undefined, { signal }).catch(() => {})
    }
  }

  /** Deletes what is in the log; gives how many rows were looked at. */
  async #sweep(topic: CheckedTopic): Promise<number> {
    const { tables, positions, complete } = this.#parts
    const { signal } = this.#stopping
    const { keys, at } = await tables.rows(topic, SWEEP_ROWS)
    if (keys.length === 0) return 0
    while (!positions.includes(complete(), at)) await wait(PASSED_LOOK_MS, undefined, { signal })
    for (let from = 0; from < keys.length && !signal.aborted; from += DELETE_ROWS) {
      const startedMs = performance.now()
      await tables.remove(topic, keys.slice(from, from + DELETE_ROWS))
      // Half of the time is the database's own.
      await wait(performance.now() - startedMs, undefined, { signal })
    }
    return keys.length
  }
}
