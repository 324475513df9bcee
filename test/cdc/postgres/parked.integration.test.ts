// Rows that their contracts refused, and how they come in after all: the contract widened, the row corrected, by hand or at the source.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { isMainstemError, type SourceTable } from '../../../core/index.ts'
import { createDatabase, openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Captured, type Source, source, until } from './support.ts'

const narrow = z.object({ id: z.int(), name: z.string(), age: z.int32().nullable() })
const tables = (db: Source, row: z.ZodObject): SourceTable[] => [
  db.table('people', { key: 'id', row }),
  db.table('tags', { key: 'tag', row: z.object({ tag: z.string().max(3), uses: z.int() }) }),
]

describe('a parked row', () => {
  let server: PostgresServer
  let url: string
  let captured: Captured
  beforeAll(async () => {
    server = await openTestPostgres()
  })
  afterAll(() => server?.stop())
  beforeEach(async () => {
    url = await createDatabase(server)
    const db = source(url)
    captured = new Captured(db, url, tables(db, narrow))
    await captured.run(
      'create table people (id int primary key, name text, age int)',
      'create table tags (tag text primary key, uses int not null)',
      `insert into people values (1, 'Ada', 36), (2, null, 20)`,
    )
    await captured.start()
    await until(() => captured.connector.status().state === 'streaming')
    await captured.run(
      `insert into people values (3, null, 30), (4, null, null), (5, 'Eve', 5)`,
      `insert into tags values ('long tag', 1)`,
      `update people set name = null where id = 1`,
    )
    await captured.level()
    return () => captured.close()
  })

  const code = (error: unknown) => (isMainstemError(error) ? error.code : String(error))
  const parkedKeys = () =>
    captured.connector
      .parked(100)
      .map(({ topic, key }) => `${topic} ${key}`)
      .sort()
  const people = () => captured.rows('people')

  test('comes in when its contract is widened, as a record that says which parked one it mends', async () => {
    expect(parkedKeys()).toEqual(['db.people 1', 'db.people 2', 'db.people 3', 'db.people 4', 'db.tags long%20tag'])
    expect(await people()).toEqual([
      { id: 1, name: 'Ada', age: 36 },
      { id: 5, name: 'Eve', age: 5 },
    ])
    const before = captured.connector.parked(100).map(entry => entry.logPosition)
    // Under the contract as it is nothing changes.
    expect(await captured.connector.retryParked({})).toMatchObject({ accepted: 0, refused: 5 })
    await captured.stop()
    const db = source(url)
    captured.redefine(db, tables(db, narrow.extend({ name: z.string().nullable() })))
    await captured.start()
    await until(() => captured.connector.status().state === 'streaming')
    const retried = await captured.connector.retryParked({})
    expect(retried).toMatchObject({ accepted: 4, superseded: 0, refused: 1 })
    expect(retried.refusals).toEqual([{ topic: 'db.tags', key: 'long%20tag', error: expect.stringContaining('tag') }])
    expect(captured.log.end).toBe(retried.position)
    expect(await people()).toEqual([
      { id: 1, name: null, age: 36 },
      { id: 2, name: null, age: 20 },
      { id: 3, name: null, age: 30 },
      { id: 4, name: null, age: null },
      { id: 5, name: 'Eve', age: 5 },
    ])
    const records = await captured.records()
    const mended = records.flatMap(({ parked }) => {
      const of = (parked as { redriveOf?: number } | null)?.redriveOf
      return of === undefined ? [] : [of]
    })
    expect(mended).toHaveLength(4)
    expect(before).toEqual(expect.arrayContaining(mended))
    // The list is a function of the log, with the mirror or without it.
    expect(parkedKeys()).toEqual(['db.tags long%20tag'])
    await captured.stop()
    rmSync(join(captured.folder, 'mirror'), { recursive: true })
    await captured.start()
    expect(parkedKeys()).toEqual(['db.tags long%20tag'])
    // What the source says next goes on from there.
    await captured.run(`update people set age = 21 where id = 2`, 'delete from people where id = 3')
    await captured.level()
    expect((await people()).slice(0, 3)).toEqual([
      { id: 1, name: null, age: 36 },
      { id: 2, name: null, age: 21 },
      { id: 4, name: null, age: null },
    ])
  })

  test('comes in with corrected values, and only it', async () => {
    const { connector } = captured
    await expect(connector.retryParked({ topic: 'db.people', key: '2', set: { nmae: 'Bo' } })).rejects.toSatisfy(
      error => code(error) === 'REQUEST_INVALID',
    )
    await expect(connector.retryParked({ key: '5' })).rejects.toSatisfy(error => code(error) === 'PARKED_UNKNOWN')
    await expect(connector.retryParked({ topic: 'db.none' })).rejects.toSatisfy(
      error => code(error) === 'PARKED_UNKNOWN',
    )
    expect(await connector.retryParked({ topic: 'db.people', key: '2', set: { name: 'Bo', age: null } })).toMatchObject(
      { accepted: 1, refused: 0 },
    )
    expect(await connector.retryParked({ topic: 'db.people', key: '3', set: { age: 'x' } })).toMatchObject({
      accepted: 0,
      refused: 1,
    })
    expect(await connector.retryParked({ key: 'long%20tag', set: { tag: 'tag' } })).toMatchObject({ accepted: 1 })
    expect(await captured.rows('tags')).toEqual([{ tag: 'tag', uses: 1 }])
    expect(await people()).toContainEqual({ id: 2, name: 'Bo', age: null })
    expect(parkedKeys()).toEqual(['db.people 1', 'db.people 3', 'db.people 4'])
    await captured.restart()
    expect(parkedKeys()).toEqual(['db.people 1', 'db.people 3', 'db.people 4'])
  })

  test('is only no longer parked where a newer row has its corrected key', async () => {
    const { connector } = captured
    await captured.run(`insert into tags values ('new', 7)`)
    await captured.level()
    expect(await connector.retryParked({ key: 'long%20tag', set: { tag: 'new' } })).toMatchObject({
      accepted: 0,
      superseded: 1,
    })
    expect(await captured.rows('tags')).toEqual([{ tag: 'new', uses: 7 }])
    expect(parkedKeys()).not.toContain('db.tags long%20tag')
  })

  test('waits for the end of the transaction at hand, while others come', async () => {
    const writing = (async () => {
      for (let n = 0; n < 20; n++)
        await captured.transaction(
          `insert into people select g, 'p', ${n} from generate_series(${100 + n * 500}, ${599 + n * 500}) g`,
        )
    })()
    const retries = []
    for (let n = 0; n < 20; n++)
      retries.push(captured.connector.retryParked({ topic: 'db.people', key: '4', set: { name: `n${n}` } }).catch(code))
    const outcomes = await Promise.all(retries)
    await writing
    await captured.level()
    expect(outcomes.filter(outcome => typeof outcome === 'object')).toHaveLength(1)
    expect(outcomes.filter(outcome => outcome === 'PARKED_UNKNOWN')).toHaveLength(19)
    // Each transaction is whole still, and each change fits the row before it.
    const sizes = new Map<string, number>()
    for (const { transaction, topic, after } of await captured.records()) {
      if (topic !== 'db.people' || transaction === undefined || after?.['name'] !== 'p') continue
      sizes.set(transaction, (sizes.get(transaction) ?? 0) + 1)
    }
    expect([...sizes.values()]).toEqual(Array.from({ length: 20 }, () => 500))
    const rows = await people()
    expect(rows).toHaveLength(3 + 10_000)
  })

  test('is not read again while the source does not stream', async () => {
    await server.restart('immediate')
    await until(() => captured.connector.status().state !== 'streaming')
    const outcome = await captured.connector.retryParked({}).catch(code)
    expect(['NOT_READY', 5]).toContain(typeof outcome === 'object' ? outcome.refused : outcome)
    await until(() => captured.connector.status().state === 'streaming')
    expect(await captured.connector.retryParked({})).toMatchObject({ refused: 5 })
  })
})
