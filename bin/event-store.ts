// The log as the event store of an application's own topics: asked by what the application declared, answered in its types.
import {
  type AnyDecider,
  type AnyTopic,
  fail,
  type Input,
  type Log,
  type LogTopic,
  type Row,
  type StreamOptions,
  type Streams,
  type TaggedOptions,
  type TagOf,
  type TopicInput,
} from '../core/index.ts'

/** What `topic(…)` gives; or a decider, whose events are one. */
export type DeclaredTopic = (AnyTopic | AnyDecider) & Input<TopicInput<unknown, unknown, unknown>>

type RowOf<T extends DeclaredTopic> = T['~input']['row']
type TagsOf<T extends DeclaredTopic> = T extends { readonly tags?: readonly (infer F extends string)[] } ? F : never

/** An event of a topic; those of a union narrow by its discriminator. */
export interface StoredEvent<T extends DeclaredTopic = DeclaredTopic> {
  /** Its place in the log. */
  readonly position: number
  readonly event: Row<RowOf<T>>
}

/** An event of a stream. */
export interface StreamEvent<T extends DeclaredTopic = DeclaredTopic> extends StoredEvent<T> {
  /** Its number within its stream, from 1. */
  readonly version: number
}

/** Reads of the topics that an application folds or names. All of them see what is durable as of their first step. */
export interface EventStore {
  /**
   * The events of one key, in order. Those that `retain` removed are not among them; the others keep their versions.
   * @param key a value, or an object of the key's columns · @throws TOPIC_UNKNOWN, KEY_INVALID; LOG_CORRUPT while iterating
   * @example
   * for await (const { version, event } of app.stream(purchases, 'ada')) console.log(version, event.cents)
   */
  stream<T extends DeclaredTopic>(
    topic: T,
    key: T['~input']['key'],
    options?: StreamOptions,
  ): AsyncIterable<StreamEvent<T>>
  /**
   * The version of a key's newest event, removed or not; 0 where it never had one. Its cost does not grow with the stream.
   * @throws TOPIC_UNKNOWN, KEY_INVALID, LOG_CORRUPT
   */
  lastVersion<T extends DeclaredTopic>(topic: T, key: T['~input']['key']): Promise<number>
  /**
   * The events that have a value in one of the topic's `tags`, in the order of the log; of an array each element is a value.
   * @throws TOPIC_UNKNOWN; while iterating TAG_UNKNOWN, KEY_INVALID where the value is not of the tag's type, LOG_CORRUPT
   */
  tagged<T extends DeclaredTopic & AnyTopic, F extends TagsOf<T>>(
    topic: T,
    field: F,
    value: TagOf<RowOf<T>, F>,
    options?: TaggedOptions,
  ): AsyncIterable<StoredEvent<T>>
}

/** @param topics the application's own, by name */
export function createEventStore(log: Log & Streams, topics: ReadonlyMap<string, LogTopic>): EventStore {
  const find = ({ name }: DeclaredTopic): LogTopic => {
    const topic = topics.get(name)
    if (topic) return topic
    throw fail('TOPIC_UNKNOWN', `the application has no topic '${name}'`, {
      detail: `it has ${[...topics.keys()].join(', ') || 'none'}`,
      hint: 'fold it in a view, or name it: application(…, { topics: […] })',
    })
  }
  const keyed = (declared: DeclaredTopic, key: unknown): LogTopic => {
    const topic = find(declared)
    // The key index has bytes of its own, and takes what it is given: this says what is not a key.
    topic.contract.key.encode(key)
    return topic
  }
  return {
    stream: (topic, key, options) => events<StreamEvent<typeof topic>>(log.stream(keyed(topic, key), key, options)),
    lastVersion: async (topic, key) => log.lastVersion(keyed(topic, key), key),
    tagged: (topic, field, value, options) =>
      events<StoredEvent<typeof topic>>(log.tagged(find(topic), field, value, options)),
  }
}

/** Without the log's own topic; the events are as the topic's contract says: the log checked it when it opened the topic. */
async function* events<E>(records: AsyncIterable<{ readonly topic: LogTopic }>): AsyncGenerator<E> {
  for await (const { topic: _, ...event } of records) yield event as unknown as E
}
