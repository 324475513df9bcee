// Appends to the application's own topics: one record, or many that become visible together or not at all.
import {
  type AnyRow,
  type Batch,
  describeRecord,
  fail,
  fromWire,
  isMainstemError,
  type Log,
  type LogTopic,
  type RecordType,
} from '../core/index.ts'
import { formatLogToken } from './token.ts'

export interface AppendResult {
  /** Position of each record, as text, in the order given. */
  readonly positions: readonly string[]
  /** Waits for them: `after=` of a read. */
  readonly token: string
}

/** Adds to a batch of so many records. */
export type Mark = (batch: Batch, records: number) => void

export class Appends {
  readonly #log: Log
  readonly #topics: ReadonlyMap<string, LogTopic>
  readonly #deciders: ReadonlySet<string>
  readonly #inputs = new Map<LogTopic, RecordType>()

  /**
   * @param topics the application's own topics by name; all others are read-only
   * @param deciders names of those whose events come from commands
   */
  constructor(log: Log, topics: ReadonlyMap<string, LogTopic>, deciders: readonly string[] = []) {
    this.#deciders = new Set(deciders)
    this.#log = log
    this.#topics = topics
  }

  /** The topic, if it may be appended to. @throws TOPIC_UNKNOWN, TOPIC_READ_ONLY */
  topic(name: string): LogTopic {
    const own = this.#topics.get(name)
    if (own) return own
    if (this.#log.findTopic(name)) {
      throw fail(
        'TOPIC_READ_ONLY',
        `topic '${name}' takes no appends`,
        this.#deciders.has(name)
          ? { detail: 'its events come from commands', hint: `send a command: POST /v1/commands/${name}/ID` }
          : {
              detail: 'its records come from a source',
              hint: 'write into the database; its changes come by themselves',
            },
      )
    }
    throw fail('TOPIC_UNKNOWN', `there is no topic '${name.slice(0, 100)}'`, {
      detail: `appends go to ${[...this.#topics.keys()].join(', ') || 'no topic of this application'}`,
    })
  }

  /** Appends what JSON gives: one record, or a list of them. @throws as `append`, and REQUEST_INVALID for an empty list */
  async appendJson(name: string, json: unknown, mark?: Mark): Promise<AppendResult> {
    const topic = this.topic(name)
    const input = this.#inputType(topic)
    const records = Array.isArray(json) ? json : [json]
    if (records.length === 0) throw fail('REQUEST_INVALID', 'the list of records is empty')
    return this.append(
      name,
      records.map(record => fromWire(input, record)),
      mark,
    )
  }

  /**
   * Appends values of the topic's input type as one atomic unit; resolves when they are durable.
   * @param mark what is to be appended behind them, with them or not at all
   * @throws TOPIC_UNKNOWN, TOPIC_READ_ONLY, RECORD_REFUSED (nothing is kept), RECORD_TOO_LARGE, LOG_FULL, LOG_FAILED
   */
  async append(name: string, values: readonly unknown[], mark?: Mark): Promise<AppendResult> {
    const topic = this.topic(name)
    const batch = this.#log.batch()
    for (const [n, value] of values.entries())
      batch.event(topic, parsed(topic, value, values.length > 1 ? n : undefined))
    mark?.(batch, values.length)
    const { first, last } = await batch.commit()
    return {
      positions: values.map((_, n) => String(first + n)),
      token: formatLogToken(this.#log.id, last),
    }
  }

  #inputType(topic: LogTopic): RecordType {
    let type = this.#inputs.get(topic)
    if (!type) {
      type = describeRecord(topic.contract.schema, 'input', topic.name)
      this.#inputs.set(topic, type)
    }
    return type
  }
}

/** @throws RECORD_REFUSED, saying which of several records it is */
function parsed(topic: LogTopic, value: unknown, index: number | undefined): AnyRow {
  try {
    return topic.contract.parse(value)
  } catch (error) {
    if (index === undefined || !isMainstemError(error)) throw error
    throw fail(error.code, error.message, {
      detail: `record ${index}: ${error.detail ?? error.message}`,
      hint: 'none of the records is kept',
      cause: error,
      data: { index },
    })
  }
}
