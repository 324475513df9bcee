// Outbox tables that scenarios share, with the contracts of their events. Only the SQL of the tables differs.
import { z } from 'zod'
import type { SourceTopic } from '../../../core/index.ts'
import type { Dialect, Source } from './databases.ts'

const order = z.object({ order_id: z.int() })
const Placed = order.extend({ type: z.literal('Placed'), customer: z.string(), cents: z.bigint(), at: z.date() })
const Paid = order.extend({ type: z.literal('Paid'), note: z.string().nullable() })

/** Of the orders' events. */
export const union = z.discriminatedUnion('type', [Placed, Paid])

/** As Debezium's outbox has its columns. */
export const orders = (db: Source, options: { keep?: boolean } = {}): SourceTopic =>
  db.outbox('outbox', {
    key: 'order_id',
    value: union,
    columns: { order_id: 'aggregateid' },
    payload: 'payload',
    keep: options.keep ?? true,
  })

export const readings = (db: Source): SourceTopic =>
  db.outbox('readings', {
    key: 'sensor',
    value: z.object({ sensor: z.string(), minute: z.int32(), value: z.number() }),
  })

export function outboxTables({ name }: Dialect): string[] {
  const [id, text, json, float] = name.endsWith('PostgreSQL')
    ? ['bigint generated always as identity', 'text', 'jsonb', 'float8']
    : ['bigint auto_increment', 'varchar(40)', 'json', 'double']
  return [
    `create table outbox (id ${id} primary key, aggregateid int not null, type ${text}, payload ${json})`,
    `create table readings (sensor ${text}, minute int, value ${float}, primary key (sensor, minute))`,
  ]
}

export const placed = (id: number, customer: string, cents = '5'): string =>
  `insert into outbox (aggregateid, type, payload) values (${id}, 'Placed',
     '{"customer": "${customer}", "cents": "${cents}", "at": "2026-11-01T09:00:00Z"}')`

export const paid = (id: number, note: string | null): string =>
  `insert into outbox (aggregateid, type, payload) values (${id}, 'Paid', '${JSON.stringify({ note })}')`
