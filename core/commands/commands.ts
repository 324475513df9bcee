// Commands: each is checked, decided on exactly the newest version of its stream, and what it comes to is appended as one batch; the
// answer is given when that is durable. Commands on one stream are decided one after the other, those on others beside them. All events
// of a decider's topic come from here, so that a stream's version is known without reading the log again.
import { type AnyRow, ByteReader, ByteWriter, createRecordCodec, type RecordCodec } from '../contract/index.ts'
import { fail, type MainstemError } from '../errors.ts'
import type { Batch, Log, LogTopic, Streams } from '../log/index.ts'
import { type CommandKey, CommandKeys, type Outcome } from './command-keys.ts'
import { type CommandParser, commandParser } from './command-parser.ts'
import { Deciding, isRefusal } from './deciding.ts'
import type { DeciderDefinition } from './definition.ts'
import { KeptStates, type StateFold, StreamStates } from './states.ts'
import { StreamTurns } from './stream-turns.ts'

export interface CommandRequest {
  readonly decider: string
  /** Of its stream: a scalar, or an object of its fields. */
  readonly key: unknown
  /** Its name. */
  readonly type: string
  /** Its fields, of the schema's input. */
  readonly command: unknown
  /** The version that the stream must have; 0: no events yet. Default: whichever it has. */
  readonly expectedVersion?: number | undefined
  /** Under it the command is decided once. Default: none. */
  readonly sentAs?: CommandKey | undefined
}

/** What came of a command. */
export type Decided =
  | {
      readonly ok: true
      /** As the log has them. */
      readonly events: readonly AnyRow[]
      /** Of the stream, after them: the number of events that it has had. */
      readonly version: number
      /** All that is in the log for it is at or below. */
      readonly position: number
    }
  | { readonly ok: false; readonly refused: string; readonly message: string; readonly version: number }

/** A decider with what runs it. */
export interface OpenDecider {
  readonly definition: DeciderDefinition
  readonly topic: LogTopic
  readonly fold: StateFold
}

interface Served extends OpenDecider {
  readonly parse: CommandParser
  readonly deciding: Deciding
  readonly states: StreamStates
  readonly codec: RecordCodec
}

export interface CommandsOptions {
  readonly log: Log & Streams
  readonly deciders: readonly OpenDecider[]
  /** Milliseconds since 1970, as `ctx.nowMs`. Default: the clock. */
  readonly clock?: () => number
}

export class Commands {
  readonly #log: Log & Streams
  readonly #clock: () => number
  readonly #served: ReadonlyMap<string, Served>
  readonly #turns = new StreamTurns()
  readonly #keys: CommandKeys
  readonly #writer = new ByteWriter()

  constructor({ log, deciders, clock = Date.now }: CommandsOptions) {
    this.#log = log
    this.#clock = clock
    this.#keys = new CommandKeys(log)
    const kept = new KeptStates()
    const served = deciders.map((open): Served => {
      const { definition, topic, fold } = open
      return {
        ...open,
        parse: commandParser(definition),
        deciding: new Deciding(definition),
        states: new StreamStates(log, topic, fold, kept),
        codec: createRecordCodec(topic.contract),
      }
    })
    this.#served = new Map(served.map(each => [each.definition.name, each]))
  }

  get deciders(): readonly OpenDecider[] {
    return [...this.#served.values()]
  }

  /** @throws DECIDER_UNKNOWN */
  decider(name: string): OpenDecider {
    return this.#of(name)
  }

  #of(name: string): Served {
    const served = this.#served.get(name)
    if (served) return served
    throw fail('DECIDER_UNKNOWN', `there is no decider '${name.slice(0, 100)}'`, {
      detail: `the application has ${[...this.#served.keys()].join(', ') || 'none'}`,
    })
  }

  /**
   * Decides a command; resolves when what it came to is durable. A refusal is an answer.
   * @throws DECIDER_UNKNOWN, COMMAND_INVALID, KEY_INVALID before anything else; VERSION_CONFLICT saying the stream's version;
   * IDEMPOTENCY_KEY_REUSED; COMMAND_FAILED, HANDLER_… where the decider's code fails: nothing is appended then; LOG_FULL, LOG_FAILED,
   * LOG_CLOSED; OVERLOADED; VIEW_REBUILDING
   */
  async send(request: CommandRequest): Promise<Decided> {
    const served = this.#of(request.decider)
    const command = served.parse(request.type, request.command)
    const key = keyOf(served, request.key)
    const stream = `${request.decider} ${served.topic.contract.key.encode(key).toString('latin1')}`
    return this.#turns.take(stream, () => this.#decide(served, stream, key, command, request))
  }

  async #decide(
    served: Served,
    stream: string,
    key: unknown,
    command: AnyRow,
    { type, expectedVersion, sentAs }: CommandRequest,
  ): Promise<Decided> {
    const known = sentAs && (await this.#keys.known(stream, sentAs))
    if (known) return this.#answerAgain(served, key, known)
    const { states, fold, definition } = served
    const before = await states.of(stream, key)
    if (expectedVersion !== undefined && expectedVersion !== before.version)
      throw versionConflict(definition.name, expectedVersion, before.version)
    const decision = served.deciding.decide(type, fold.read(before.state), command, { key, nowMs: this.#clock() })
    const note = sentAs && (await this.#keys.noting(stream, sentAs))
    if (isRefusal(decision)) {
      const { refused } = decision
      if (note) await this.#append(batch => note(batch, { version: before.version, events: 0, refused }))
      return refusal(definition, refused, before.version)
    }
    const events = decision.map(event => this.#accept(served, key, event))
    if (events.length === 0 && !note) return { ok: true, events, version: before.version, position: before.position }
    // Before anything is appended: what `evolve` cannot take must not stand in the log.
    const state = events.length === 0 ? before.state : fold.fold(key, before.state, events)
    const version = before.version + events.length
    try {
      const { first, last } = await this.#append(batch => {
        for (const event of events) batch.event(served.topic, event)
        note?.(batch, { version, events: events.length, refused: null })
      })
      const position = events.length === 0 ? before.position : first + events.length - 1
      states.set(stream, { state, version, position })
      return { ok: true, events, version, position: last }
    } catch (error) {
      states.forget(stream)
      throw error
    }
  }

  #append(write: (batch: Batch) => void) {
    const batch = this.#log.batch()
    write(batch)
    return batch.commit()
  }

  /** An event that was decided, as the log will give it back. @throws COMMAND_FAILED where it is not of its contract */
  #accept({ definition, topic, codec }: Served, key: unknown, event: AnyRow): AnyRow {
    const [column] = definition.keyColumns
    const whole = topic.contract.key.single ? { ...event, [column!]: key } : { ...event, ...(key as AnyRow) }
    const writer = this.#writer
    writer.at = 0
    try {
      codec.encode(writer, topic.contract.parse(whole))
      return codec.decode(new ByteReader(writer.copy()))
    } catch (error) {
      const { detail, message } = error as MainstemError
      throw fail('COMMAND_FAILED', `${definition.name} decided an event that is not of its contract`, {
        detail: `${String(event['type']).slice(0, 100)}: ${detail ?? message}`,
        cause: error,
      })
    }
  }

  async #answerAgain(served: Served, key: unknown, known: Outcome & { readonly position: number }): Promise<Decided> {
    const { version, position, refused } = known
    if (refused !== null) return refusal(served.definition, refused, version)
    const events: AnyRow[] = []
    if (known.events > 0) {
      const range = { from: version - known.events + 1, limit: known.events }
      for await (const { event } of this.#log.stream(served.topic, key, range)) events.push(event)
    }
    return { ok: true, events, version, position }
  }
}

/** @throws KEY_INVALID */
function keyOf({ definition, topic }: OpenDecider, given: unknown): unknown {
  const { success, data, error } = definition.spec.key.safeParse(given)
  if (success) {
    topic.contract.key.encode(data)
    return data
  }
  const [issue] = error.issues
  throw fail('KEY_INVALID', `this is no key of ${definition.name}`, {
    detail: `${issue?.path.join('.') || 'key'}: ${issue?.message ?? 'not as its schema says'}`,
  })
}

const refusal = ({ spec }: DeciderDefinition, refused: string, version: number): Decided => ({
  ok: false,
  refused,
  message: spec.refusals?.[refused] ?? refused,
  version,
})

const versionConflict = (name: string, expected: number, version: number) =>
  fail('VERSION_CONFLICT', `the stream of ${name} has another version than the command expects`, {
    detail: `it is at version ${version}, the command expects ${expected}`,
    hint: 'read its state again, and decide anew whether to send the command',
    data: { version, expected },
  })
