// Topics that a source brings, as an application declares them: rows of an outbox table, and messages. Pure: nothing is opened.

import type { z } from 'zod'
import {
  checkRetain,
  compileContract,
  fail,
  type KeyColumns,
  type RecordSchema,
  type Retain,
  type SourceDefinition,
  type SourceTopic,
  type TagFields,
  type Topic,
  type TopicOrigin,
  upcastable,
} from '../../core/index.ts'

/** What every topic of a source is declared by: as `topic(…)`. */
export interface EventContract<Z extends RecordSchema, K, Tags> {
  /** The field, or fields, that say whose event it is. */
  readonly key: K
  /** The schema of an event: an object, or a discriminated union of such. */
  readonly value: Z
  readonly tags?: readonly Tags[]
  readonly retain?: Retain
}

export interface OutboxContract<Z extends RecordSchema, K, Tags> extends EventContract<Z, K, Tags> {
  /** Field of the event → column, where their names differ. */
  readonly columns?: Readonly<Record<string, string>>
  /** A column of JSON, an object: its members are the fields that have no column of their own. Default: all fields have one. */
  readonly payload?: string
  /** False: rows are deleted from the table once their events are in the log, which needs DELETE on it. Default true. */
  readonly keep?: boolean
}

/** A topic whose events a source brings. */
export type CapturedEvents<N extends string, Z extends RecordSchema, K, Tags extends string> = Topic<
  N,
  Z,
  K,
  z.output<Z>,
  Tags
> &
  Omit<SourceTopic, 'key' | 'value' | 'tags'>

/** `shop.outbox(…)`: each kind of database that has them has these. */
export interface EventSource<S extends string> {
  /**
   * Declares an outbox: a table into which an application inserts events, in the transaction that causes them, and forgets them. Each
   * insert is an event of the topic `<source>.<table>`, in the order of the log; updates and deletes of the table mean nothing.
   * @param table its name in the database
   * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
   */
  outbox<
    const T extends string,
    Z extends RecordSchema,
    const K extends KeyColumns<z.output<Z>>,
    const Tags extends TagFields<z.output<Z>> = never,
  >(table: T, contract: OutboxContract<Z, K, Tags>): CapturedEvents<`${S}.${T}`, Z, K, Tags>
}

/** `shop.messages(…)`: a database whose log takes messages has these. */
export interface MessageSource<S extends string> {
  /**
   * Declares the messages of a prefix as events of the topic `<source>.<prefix>`: an outbox without a table. An application writes them with
   * `select pg_logical_emit_message(true, 'orders', '{"id": 7, "type": "placed"}')` in the transaction that causes them; with `false` a
   * message counts at once, whatever becomes of its transaction. The content is a JSON object of the event's fields.
   * @param prefix as it is given to `pg_logical_emit_message`
   * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
   * @example
   * const orderEvents = shop.messages('orders', { key: 'id', value: z.object({ id: z.int(), type: z.string() }) })
   */
  messages<
    const T extends string,
    Z extends RecordSchema,
    const K extends KeyColumns<z.output<Z>>,
    const Tags extends TagFields<z.output<Z>> = never,
  >(prefix: T, contract: EventContract<Z, K, Tags>): CapturedEvents<`${S}.${T}`, Z, K, Tags>
}

/** The prefix of messages of our own. */
export const OWN_PREFIX = 'mainstem'

export function declareMessages(
  source: SourceDefinition,
  prefix: string,
  contract: EventContract<RecordSchema, unknown, string>,
): SourceTopic {
  if (prefix === '' || prefix.length > 127 || prefix === OWN_PREFIX)
    throw fail('DEFINITION_INVALID', `'${prefix}' cannot be the prefix of messages`)
  return declareEvents(source, prefix, contract, { kind: 'messages', prefix })
}

export function declareOutbox(
  source: SourceDefinition,
  table: string,
  contract: OutboxContract<RecordSchema, unknown, string>,
): SourceTopic {
  if (table === '' || table.length > 127) throw fail('DEFINITION_INVALID', `'${table}' is not a table name`)
  const { columns = {}, payload, keep = true, ...rest } = contract
  return declareEvents(source, table, rest, { kind: 'outbox', table, columns, payload, keep })
}

/** @param name the topic's, behind that of the source */
export function declareEvents(
  source: SourceDefinition,
  name: string,
  { key, value, tags, retain }: EventContract<RecordSchema, unknown, string>,
  origin: TopicOrigin,
): SourceTopic {
  const topic = `${source.name}.${name}`
  compileContract(topic, 'topic', value, key, [], tags)
  checkRetain(topic, retain)
  const optional = { ...(tags ? { tags } : {}), ...(retain ? { retain } : {}) }
  return upcastable({ kind: 'topic', name: topic, key, value, source, origin, ...optional } as const)
}
