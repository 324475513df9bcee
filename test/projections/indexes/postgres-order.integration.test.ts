// Orders and conditions of declared indexes are those of PostgreSQL (`collate "C"`, nulls as it has them): the same random rows in both, the
// same random queries, the same rows in the same order, page by page.
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, topic } from '../../../core/index.ts'
import { application, type Engine, planRange, projection, type RangeQuery } from '../../../projections/index.ts'
import { openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Random } from '../../support/random.ts'
import { Engines } from '../engines.ts'

const Color = z.enum(['red', 'green', 'blue'])
const fields = {
  word: z.string(),
  note: z.string().nullable(),
  small: z.int32(),
  big: z.bigint().nullable(),
  share: z.number(),
  done: z.boolean().nullable(),
  at: z.date().nullable(),
  color: Color,
}
const value = z.object({ part: z.string(), id: z.int(), ...fields, leaves: z.boolean() })
type Event = z.output<typeof value>
const events = topic('events', { key: ['part', 'id'], value })
const INDEXES = [
  ['note', 'big'],
  ['big', 'share'],
  ['color', 'done', 'at'],
  ['word'],
  ['small', 'word'],
  ['share', 'id'],
  ['at'],
] as const
const view = projection('things', {
  key: z.object({ part: z.string(), id: z.int() }),
  state: z.object({ ...fields, word: z.string().default(''), color: Color.default('red') }),
}).on(events, { part: 'part', id: 'id' }, (row, { part: _, id: __, leaves, ...rest }, ctx) => {
  Object.assign(row, rest)
  if (leaves) ctx.delete()
})
const app = application('things', {
  views: [INDEXES.reduce((all, names) => all.index(...(names as unknown as ['word'])), view as never as typeof view)],
})

/** The same letter composed and as two, beginnings of each other, what UTF-16 and UTF-8 order differently. */
const WORDS = ['', 'a', 'ab', 'aB', 'A', 'b', 'é', 'e\u0301', '\uffee', '😀', ' ', '_', 'z'.repeat(40)]
const VALUES: Readonly<Record<string, readonly unknown[]>> = {
  part: ['', 'a', 'B', 'ä', '😀', '\uffee'],
  id: [0, 1, -1, 255, 256, -256, 2 ** 40, -(2 ** 40)],
  word: WORDS,
  note: [null, ...WORDS],
  small: [0, 1, -1, 300, -300, 2 ** 31 - 1, -(2 ** 31)],
  big: [null, 0n, 1n, -1n, 2n ** 53n, 2n ** 64n, -(2n ** 80n)],
  share: [0, 0.5, -0.5, 1e300, -1e-300, 5e-324, 100],
  done: [null, true, false],
  at: [null, new Date(0), new Date(-1), new Date(1e12), new Date(1_000_000_000_001)],
  color: ['red', 'green', 'blue'],
}
const TYPES: Readonly<Record<string, string>> = {
  part: 'text',
  id: 'bigint',
  word: 'text',
  note: 'text',
  small: 'integer',
  big: 'numeric',
  share: 'float8',
  done: 'boolean',
  at: 'timestamptz',
  color: 'text',
}
const COLUMNS = Object.keys(TYPES)

let server: PostgresServer
let client: pg.Client
let engines: Engines
let log: EmbeddedLog

beforeAll(async () => {
  server = await openTestPostgres()
  client = new pg.Client(server.url())
  await client.connect()
  await client.query(
    `create table things (${COLUMNS.map(name => `${name} ${TYPES[name]} ${TYPES[name] === 'text' ? 'collate "C"' : ''}`).join()}, primary key (part, id))`,
  )
  engines = await Engines.over()
  log = engines.log
  await log.topic(compileContract('events', 'topic', value, ['part', 'id']))
  for (const shards of [0, 3]) await engines.open(app, shards, { checkpointIntervalMs: 50 })
})

afterAll(async () => {
  await engines?.end()
  await client?.end()
  await server?.stop()
})

const draw = (random: Random, name: string): unknown => random.pick(VALUES[name]!)
const wire = (value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value)

/** One transaction in both. */
async function change(random: Random, count: number): Promise<void> {
  const batch = log.batch()
  await client.query('begin')
  for (let n = 0; n < count; n++) {
    const row = Object.fromEntries(COLUMNS.map(name => [name, draw(random, name)]))
    // More keys than the odd ones.
    row['id'] = random.next() < 0.3 ? row['id'] : random.int(300)
    const leaves = random.int(5) === 0
    batch.event(log.findTopic('events')!, { ...row, leaves } as Event)
    await (leaves
      ? client.query('delete from things where part = $1 and id = $2', [row['part'], row['id']])
      : client.query(
          `insert into things values (${COLUMNS.map((_, n) => `$${n + 1}`).join()}) on conflict (part, id) do update set ${COLUMNS.slice(
            2,
          )
            .map(name => `${name} = excluded.${name}`)
            .join()}`,
          COLUMNS.map(name => wire(row[name])),
        ))
  }
  await client.query('commit')
  await batch.commit()
}

interface Asked {
  readonly query: RangeQuery
  readonly sql: string
  readonly parameters: readonly unknown[]
}

function ask(random: Random): Asked {
  const parameters: unknown[] = []
  const bound = (value: unknown) => `$${parameters.push(wire(value))}`
  const order = random.pick(['asc', 'desc'] as const)
  const conditions: string[] = []
  const sqlOf = (by: readonly string[]) =>
    `select part, id::text as text_of_id from things where ${['true', ...conditions].join(' and ')} order by ${[...by, 'part', 'id'].map(name => `${name} ${order}`).join()}`
  if (random.next() < 0.2) {
    const [from, to] = [0, 1].map(() => ({ part: draw(random, 'part'), id: draw(random, 'id') }))
    conditions.push(`(part, id) >= (${bound(from!.part)}, ${bound(from!.id)})`)
    conditions.push(`(part, id) <= (${bound(to!.part)}, ${bound(to!.id)})`)
    return { query: { from, to, order }, sql: sqlOf([]), parameters }
  }
  const index = random.pick(INDEXES) as readonly string[]
  const asked = index.slice(0, 1 + random.int(index.length))
  const where: Record<string, unknown> = {}
  for (const [n, name] of asked.entries()) {
    if (n < asked.length - 1 || random.next() < 0.4) {
      where[name] = draw(random, name)
      conditions.push(where[name] === null ? `${name} is null` : `${name} = ${bound(where[name])}`)
      continue
    }
    const bounds = (['gte', 'gt', 'lte', 'lt'] as const).filter(() => random.next() < 0.5)
    where[name] = Object.fromEntries(
      bounds.map(each => {
        const value = random.pick(VALUES[name]!.filter(value => value !== null))
        conditions.push(`${name} ${{ gte: '>=', gt: '>', lte: '<=', lt: '<' }[each]} ${bound(value)}`)
        return [each, value]
      }),
    )
    // Without bounds, all that are there.
    conditions.push(`${name} is not null`)
  }
  // The first index that serves it gives the order.
  const ranged = asked.at(-1)!
  const isRanged = typeof where[ranged] === 'object' && where[ranged] !== null && !(where[ranged] instanceof Date)
  const serving = (INDEXES as readonly (readonly string[])[]).find(names => {
    const leading = names.slice(0, asked.length)
    return (
      leading.length === asked.length &&
      asked.every(name => leading.includes(name)) &&
      (!isRanged || leading.at(-1) === ranged)
    )
  })!
  return { query: { where, order }, sql: sqlOf(serving), parameters }
}

async function paged(engine: Engine, query: RangeQuery, most: number): Promise<readonly unknown[]> {
  const live = engine.views.get('things')!
  const keys: unknown[] = []
  for (let cursor: string | undefined, more = true; more; ) {
    const { range, cursorAfter } = planRange(live, cursor === undefined ? query : { ...query, cursor })
    const { rows, next } = await engine.range({ view: 'things', range, most })
    keys.push(...rows.map(({ key }) => key))
    more = next !== undefined
    if (next !== undefined) cursor = cursorAfter(next)
  }
  return keys
}

it.each([1, 2, 3])('rows by an index are those of PostgreSQL, in its order (seed %i)', async seed => {
  const random = new Random(seed)
  let found = 0
  for (let round = 0; round < 5; round++) {
    await change(random, round === 0 ? 700 : 80)
    await Promise.all(engines.all.map(engine => engine.waitFor(log.end, AbortSignal.timeout(30_000))))
    for (let n = 0; n < 40; n++) {
      const { query, sql, parameters } = ask(random)
      const { rows } = await client.query(sql, [...parameters])
      const expected = rows.map(({ part, text_of_id }) => ({ part, id: Number(text_of_id) }))
      found += expected.length
      const most = random.pick([3, 7, 100, 1_000])
      for (const engine of engines.all)
        expect(await paged(engine, query, most), `${sql} ${parameters}`).toEqual(expected)
    }
  }
  expect(found).toBeGreaterThan(5_000)
})
