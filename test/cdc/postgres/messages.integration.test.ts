// Logical messages as typed events: an outbox without a table.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SourceTopic } from '../../../core/index.ts'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Captured, type Source, source, until } from './support.ts'

const value = z.discriminatedUnion('type', [
  z.object({ order: z.int(), type: z.literal('Placed'), cents: z.bigint(), at: z.date() }),
  z.object({ order: z.int(), type: z.literal('Paid'), note: z.string().nullable() }),
])
const orders = (db: Source): SourceTopic => db.messages('orders', { key: 'order', value })
const emit = (content: unknown, transactional = true, prefix = 'orders') =>
  `select pg_logical_emit_message(${transactional}, '${prefix}', $json$${typeof content === 'string' ? content : JSON.stringify(content)}$json$)`
const placed = (order: number) => ({ order, type: 'Placed', cents: '9007199254740993', at: '2026-11-29T10:00:00Z' })
const paid = (order: number, note: string | null = null) => ({ order, type: 'Paid', note })

describe.each(['embedded', 'system'] as const)('messages of the %s PostgreSQL', version => {
  describe.skipIf(isMissing(version))('with a declared prefix', () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await openTestPostgres({ version, settings: { logical_decoding_work_mem: '64kB' } })
    })
    afterAll(() => server?.stop())

    async function capture(tables: boolean, use: (captured: Captured) => Promise<void>) {
      const url = await createDatabase(server)
      const db = source(url)
      const row = z.object({ id: z.int(), note: z.string() })
      const captured = new Captured(db, url, tables ? [db.table('t', { key: 'id', row })] : [])
      captured.topics = [orders(db)]
      try {
        await captured.run('create table t (id int primary key, note text)')
        await captured.start()
        await captured.level()
        await use(captured)
      } finally {
        await captured.close()
      }
    }
    const events = async (captured: Captured) =>
      (await captured.records())
        .filter(({ topic }) => topic === 'db.orders')
        .map(({ after, parked, transaction }) => ({ after, parked, transaction }))

    test('are events at their place in their transaction, once, whatever comes of the connection', async () => {
      await capture(true, async captured => {
        await captured.transaction(
          emit(placed(1)),
          `insert into t values (1, 'beside it')`,
          emit(paid(1, 'cash')),
          emit({ secret: 1 }, true, 'others'),
        )
        await captured.run('begin', emit(placed(2)), 'rollback')
        await captured.level()
        const records = (await captured.records()).filter(({ topic }) => !topic.startsWith('mainstem.'))
        expect(records.map(({ topic, after }) => [topic, after])).toEqual([
          ['db.orders', { order: 1, type: 'Placed', cents: 9007199254740993n, at: new Date('2026-11-29T10:00:00Z') }],
          ['db.t', { id: 1, note: 'beside it' }],
          ['db.orders', { order: 1, type: 'Paid', note: 'cash' }],
        ])
        expect(new Set(records.map(({ transaction }) => transaction)).size).toBe(1)
        // In a large transaction of which a part is rolled back.
        await captured.run(
          'begin',
          `insert into t select i, repeat('x', 100) from generate_series(100, 3000) i`,
          emit(placed(3)),
          'savepoint s',
          emit(placed(4)),
          `update t set note = repeat('y', 100)`,
          'rollback to s',
          emit(paid(3)),
          'commit',
        )
        await captured.level()
        const orderOf = async () => (await events(captured)).map(({ after }) => [after?.['order'], after?.['type']])
        expect((await orderOf()).slice(2)).toEqual([
          [3, 'Placed'],
          [3, 'Paid'],
        ])
        await captured.restart()
        await captured.run(emit(placed(5)))
        await captured.level()
        await captured.restart()
        await captured.level()
        expect((await orderOf()).slice(4)).toEqual([[5, 'Placed']])
      })
    })

    test('in no transaction count at once and once, also those of a transaction that is rolled back', async () => {
      await capture(false, async captured => {
        await captured.run('begin', emit(placed(1), false), emit(placed(2)), 'rollback', emit(paid(1), false))
        await captured.level()
        const expected = [
          [1, 'Placed'],
          [1, 'Paid'],
        ]
        const seen = async () => (await events(captured)).map(({ after }) => [after?.['order'], after?.['type']])
        expect(await seen()).toEqual(expected)
        expect((await events(captured)).map(({ transaction }) => transaction)).toEqual([undefined, undefined])
        for (let n = 0; n < 2; n++) {
          await captured.restart()
          await captured.run(emit(paid(7, String(n)), false))
          await captured.level()
          await captured.restart()
          await captured.level()
        }
        expect(await seen()).toEqual([...expected, [7, 'Paid'], [7, 'Paid']])
      })
    })

    test('that their contract refuses are parked with their text, and mended', async () => {
      await capture(true, async captured => {
        await captured.run(emit('no JSON'), emit([1]), emit({ order: 1, type: 'Lost' }), emit(placed(2)))
        await captured.level()
        const seen = await events(captured)
        expect(seen.map(({ after }) => after?.['order'])).toEqual([undefined, undefined, undefined, 2])
        expect(seen.slice(0, 3).map(({ parked }) => parked)).toMatchObject([
          { raw: { content: 'no JSON' } },
          { raw: { content: '[1]' }, error: 'expected a JSON object' },
          { key: '1', raw: { content: '{"order":1,"type":"Lost"}' } },
        ])
        expect(captured.connector.status().parked).toBe(3)
        await until(() => captured.connector.status().state === 'streaming')
        const set = { content: JSON.stringify(paid(1)) }
        await captured.connector.retryParked({ topic: 'db.orders', key: '1', set })
        expect(captured.connector.status().parked).toBe(2)
        expect((await events(captured)).map(({ after }) => after)).toContainEqual({
          order: 1,
          type: 'Paid',
          note: null,
        })
      })
    })

    test('cannot have the prefix of our own', () => {
      const db = source('postgres://nobody@localhost/none')
      expect(() => db.messages('mainstem', { key: 'order', value })).toThrow(
        expect.objectContaining({ code: 'DEFINITION_INVALID' }),
      )
    })
  })
})
