// Generated columns, partitions and tables that inherit: what the server streams of them, and what a snapshot reads, is the same.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SourceTable } from '../../../core/index.ts'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Captured, type Source, source } from './support.ts'

const SETUP = [
  'create table t (id int primary key, price int, twice int generated always as (price * 2) stored)',
  'insert into t values (1, 10)',
]
const plain = z.object({ id: z.int(), price: z.int() })
const generated = plain.extend({ twice: z.int() })
const tables = (db: Source): SourceTable[] => [db.table('t', { key: 'id', row: generated })]

async function withCaptured(
  server: PostgresServer,
  setup: readonly string[],
  of: (db: Source) => SourceTable[],
  use: (captured: Captured, db: Source) => Promise<void>,
) {
  const url = await createDatabase(server)
  const db = source(url)
  const captured = new Captured(db, url, of(db))
  try {
    await captured.run(...setup)
    await use(captured, db)
  } finally {
    await captured.close()
  }
}

describe('the embedded PostgreSQL', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await openTestPostgres()
  })
  afterAll(() => server?.stop())

  test('streams stored generated columns', () =>
    withCaptured(server, SETUP, tables, async captured => {
      await captured.start()
      await captured.level()
      await captured.run('insert into t values (2, 20)', 'update t set price = 11 where id = 1')
      await captured.level()
      expect(await captured.rows('t')).toEqual([
        { id: 1, price: 11, twice: 22 },
        { id: 2, price: 20, twice: 40 },
      ])
    }))

  test('streams them from a publication that was made without, too', () =>
    withCaptured(
      server,
      SETUP,
      db => [db.table('t', { key: 'id', row: plain })],
      async (captured, db) => {
        await captured.start()
        await captured.level()
        captured.redefine(db, [db.table('t', { key: 'id', row: plain.extend({ twice: z.int().nullable() }) })])
        await expect(captured.restart()).rejects.toMatchObject({ code: 'SOURCE_SLOT_LOST' })
        await captured.restart({ resnapshot: true })
        await captured.level()
        await captured.run('insert into t values (2, 20)')
        await captured.level()
        expect(await captured.rows('t')).toEqual([
          { id: 1, price: 10, twice: 20 },
          { id: 2, price: 20, twice: 40 },
        ])
      },
    ))
})

describe.skipIf(isMissing('system'))('the system PostgreSQL', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await openTestPostgres({ version: 'system' })
  })
  afterAll(() => server?.stop())

  test('does not stream generated columns, which is said before anything is changed', () =>
    withCaptured(server, SETUP, tables, async captured => {
      await expect(captured.open()).rejects.toMatchObject({
        code: 'CONTRACT_COLUMN_MISSING',
        message: expect.stringContaining("'twice'"),
        detail: expect.stringContaining('from version 18 on'),
      })
    }))

  test('streams partitions as their table, those of partitions and later ones too, and tables that inherit by themselves', () =>
    withCaptured(
      server,
      [
        'create table p (id int primary key, price int) partition by range (id)',
        'create table p1 partition of p for values from (0) to (100)',
        'create table p2 partition of p for values from (100) to (1000) partition by range (id)',
        'create table p2a partition of p2 for values from (100) to (200)',
        'insert into p values (1, 1), (150, 1)',
        'create table parent (id int primary key, price int)',
        'create table child (extra int, primary key (id)) inherits (parent)',
        'insert into parent values (1, 1)',
        'insert into child values (2, 2, 2)',
      ],
      db => ['p', 'parent', 'child'].map(name => db.table(name, { key: 'id', row: plain })),
      async captured => {
        await captured.start()
        await captured.level()
        await captured.run(
          'create table p2b partition of p2 for values from (200) to (300)',
          'create table p3 partition of p for values from (1000) to (2000)',
          'insert into p values (250, 1), (1500, 1)',
          'update p set id = 2 where id = 150',
          'update p set price = 5 where id = 250',
          'insert into parent values (3, 3)',
          'insert into child values (4, 4, 4)',
          'update parent set price = price + 10',
        )
        await captured.level()
        expect(await captured.rows('p')).toEqual([
          { id: 1, price: 1 },
          { id: 1500, price: 1 },
          { id: 2, price: 1 },
          { id: 250, price: 5 },
        ])
        expect(await captured.rows('parent')).toEqual([
          { id: 1, price: 11 },
          { id: 3, price: 13 },
        ])
        expect(await captured.rows('child')).toEqual([
          { id: 2, price: 12 },
          { id: 4, price: 14 },
        ])
      },
    ))
})
