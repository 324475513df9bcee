// What the recorded data folders hold, and how they are compared: every kind of value, every kind of record, marks,
// heartbeats, a chain of blocks, several segments, a contract that changed, and an unfinished tail.
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, toWire } from '../../core/index.ts'
import { batchesOf } from '../support/log-batches.ts'

const shape = {
  id: z.int(),
  small: z.int32(),
  ratio: z.number(),
  big: z.bigint(),
  yes: z.boolean(),
  at: z.date(),
  blob: z.instanceof(Uint8Array),
  anything: z.json(),
  text: z.string(),
  colour: z.enum(['red', 'green', 'blue']),
  maybe: z.string().nullable(),
  perhaps: z.int().optional(),
  both: z.bigint().nullish(),
  list: z.array(z.number()),
  inner: z.object({ x: z.int(), deep: z.object({ y: z.string().nullable() }) }),
  open: z.record(z.string(), z.date()),
  closed: z.record(z.enum(['p', 'q']), z.int()),
  sums: z.map(z.string(), z.bigint()),
}

export const kinds = compileContract('shop.kinds', 'table', z.object(shape), 'id')
/** `kinds` as it became: a field with a default, a nullable one, one less, one wider. */
export const laterKinds = compileContract(
  'shop.kinds',
  'table',
  z.object({
    ...Object.fromEntries(Object.entries(shape).filter(([name]) => name !== 'ratio')),
    small: z.int(),
    since: z.date().default(new Date(86_400_000)),
    note: z.string().nullable(),
  }),
  'id',
)
export const lines = compileContract(
  'shop.lines',
  'table',
  z.object({ order: z.int(), line: z.int32(), article: z.string() }),
  ['order', 'line'],
)
export const clicks = compileContract('clicks', 'topic', z.object({ user: z.string(), page: z.string() }), 'user')

const seat = z.object({ show: z.string(), seat: z.int() })
/** From format 3 on: variants, and tags. */
export const bookings = compileContract(
  'bookings',
  'topic',
  z.discriminatedUnion('type', [
    seat.extend({ type: z.literal('Held'), holder: z.string(), labels: z.array(z.enum(['vip', 'press'])) }),
    seat.extend({ type: z.literal('Booked'), holder: z.string(), cents: z.bigint(), at: z.date() }),
    seat.extend({ type: z.literal('Released'), why: z.string().nullable() }),
  ]),
  ['show', 'seat'],
  [],
  ['holder', 'labels', 'seat'],
)

export function booking(n: number) {
  const of = { show: n % 2 ? 'hamlet' : 'macbeth', seat: n % 3 }
  const holder = `h${n % 4}`
  if (n % 3 === 0) return { type: 'Held', ...of, holder, labels: (['vip', 'press'] as const).slice(n % 4 ? 1 : 0) }
  if (n % 3 === 1) return { type: 'Booked', ...of, holder, cents: 10n ** 20n + BigInt(n), at: new Date(n) }
  return { type: 'Released', ...of, why: n % 2 ? null : 'late' }
}

const EDGES = [0, 1, -1, 63, -64, 8_191, 2 ** 31 - 1, -(2 ** 31)]

export function kindsRow(n: number) {
  const edge = EDGES[n % EDGES.length] ?? 0
  return {
    id: n % 2 ? n : -Number.MAX_SAFE_INTEGER + n,
    small: edge,
    ratio: n === 0 ? Number.MAX_VALUE : edge / 7,
    big: n % 2 ? BigInt(edge) : 10n ** 30n + BigInt(n),
    yes: n % 2 === 0,
    at: new Date(n === 1 ? -8.64e15 : edge * 1_000),
    blob: Uint8Array.from({ length: n * 3 }, (_, at) => (at * 37) % 256),
    anything: [null, n, 'x', { a: [true, { b: null }] }][n % 4],
    text: ['', 'naïve 日本語 👋🏽', 'x'.repeat(200), '\u0000"\\'][n % 4],
    colour: (['red', 'green', 'blue'] as const)[n % 3],
    maybe: n % 2 ? null : 'there',
    ...(n % 3 ? { perhaps: n } : {}),
    both: [undefined, null, 5n][n % 3],
    list: Array.from({ length: n % 5 }, (_, at) => at / 3),
    inner: { x: n, deep: { y: n % 2 ? null : 'y' } },
    open: Object.fromEntries(Array.from({ length: n % 3 }, (_, at) => [`k${at}`, new Date(at)])),
    closed: { p: n, q: -n },
    sums: new Map(Array.from({ length: n % 4 }, (_, at) => [`s${at}`, 2n ** BigInt(40 * at)] as const)),
  }
}

/** Long texts as their digest: the chain of blocks is megabytes of them. */
const short = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, part: unknown) =>
      typeof part === 'string' && part.length > 1_000
        ? `sha256 ${createHash('sha256').update(part).digest('hex')} of ${part.length}`
        : part,
    ),
  )

/** What a log of format 3 or later has besides: its base, the contract of the union, streams with their versions, and tags. */
async function eventsOf(log: EmbeddedLog): Promise<object> {
  const topic = log.findTopic('bookings')
  if (!topic) return {}
  const users = ['u0', 'u1', 'u2', 'u3', 'chain', 'nobody']
  const clicked = log.findTopic('clicks')!
  const seats = ['hamlet', 'macbeth'].flatMap(show => [0, 1, 2, 3].map(number => ({ show, seat: number })))
  const tags = [...['h0', 'h1', 'h2', 'h3', 'h4'].map(holder => ['holder', holder] as const)]
  const found = [...tags, ['labels', 'vip'] as const, ['labels', 'press'] as const, ['seat', 1] as const]
  return {
    base: { ...log.base, topics: [...log.base.topics] },
    bookings: { id: topic.id, type: topic.contract.type },
    versions: await Promise.all([
      ...users.map(user => log.lastVersion(clicked, user)),
      ...seats.map(key => log.lastVersion(topic, key)),
    ]),
    streams: await Promise.all([
      ...users.map(user => listOf(log.stream(clicked, user, { limit: 5 }), placeOf)),
      ...seats.map(key =>
        listOf(log.stream(topic, key), ({ event, ...at }) => [placeOf(at), toWire(topic.contract.type, event)]),
      ),
    ]),
    tagged: await Promise.all(
      found.map(([field, value]) => listOf(log.tagged(topic, field, value), ({ position }) => position)),
    ),
  }
}

const placeOf = ({ version, position }: { readonly version: number; readonly position: number }) => [version, position]

async function listOf<T, U>(iterable: AsyncIterable<T>, of: (each: T) => U): Promise<U[]> {
  const list: U[] = []
  for await (const each of iterable) list.push(of(each))
  return list
}

/** All that the port shows of a log, as JSON. */
export async function contentOf(log: EmbeddedLog): Promise<unknown> {
  const topics = ['shop.kinds', 'shop.lines', 'clicks'].map(name => log.findTopic(name))
  const batches = (await batchesOf(log)).map(batch => ({
    ...batch,
    records: batch.records.map(record => {
      const type = log.findTopic(record.topic)!.contract.type
      return { ...record, before: toWire(type, record.before), after: toWire(type, record.after) }
    }),
  }))
  const marks = ['shop', 'billing'].map(source => log.mark(source))
  const known = topics.map(topic => ({ id: topic?.id, kind: topic?.contract.kind, type: topic?.contract.type }))
  return short({ id: log.id, end: log.end, marks, topics: known, batches, ...(await eventsOf(log)) })
}
