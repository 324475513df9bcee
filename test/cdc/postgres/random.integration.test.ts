import { expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, openTestPostgres, withClient } from '../../support/postgres.ts'
import { Random } from '../../support/random.ts'
import { Captured, source, until } from './support.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const IDS = 40

/** A statement over few rows, so that the same ones change again and again; many rows are refused by the contract. */
function statement(random: Random, table: string): string {
  const id = random.int(IDS)
  const size = random.pick([0, 10, 3_000, 9_000])
  // Values that do not compress, so that they are kept out of the row and left out of updates.
  const body =
    size === 0 ? 'null' : `(select string_agg(md5(random()::text), '') from generate_series(1, ${size / 32}))`
  switch (random.int(8)) {
    case 0:
    case 1:
      return `insert into ${table} values (${id}, ${random.int(20)}, ${body}) on conflict (id) do update set n = excluded.n, body = excluded.body`
    case 2:
      return `update ${table} set n = ${random.int(20)} where id % 5 = ${id % 5}`
    case 3:
      return `update ${table} set body = ${body} where id = ${id}`
    case 4:
      return `update ${table} set id = ${random.int(IDS)}, n = ${random.int(20)} where id = ${id} and not exists (select from ${table} where id <> ${id} and n >= 0)`
    case 5:
      return `update ${table} set id = id + ${IDS}, n = ${random.int(20)} where id = ${id} and not exists (select from ${table} where id = ${id + IDS})`
    case 6:
      return `delete from ${table} where id in (${id}, ${id + IDS})`
    default:
      return random.int(12) === 0 ? `truncate ${table}` : `update ${table} set n = n where id = ${id}`
  }
}

test(`at any level the accepted rows are in the log and exactly the refused ones are parked (SEED=${SEED})`, async () => {
  await using server = await openTestPostgres()
  const url = await createDatabase(server)
  const random = new Random(SEED)
  const db = source(url)
  const row = z.object({ id: z.int32(), n: z.int32().max(9), body: z.string().nullable() })
  const names = ['plain', 'complete']
  const captured = new Captured(
    db,
    url,
    names.map(name => db.table(name, { key: 'id', row })),
  )
  try {
    for (const name of names) await captured.run(`create table ${name} (id int primary key, n int not null, body text)`)
    await captured.run(
      'alter table complete replica identity full',
      ...Array.from({ length: 30 }, () => statement(random, random.pick(names))),
    )
    await captured.start()
    for (let round = 0; round < 12; round++) {
      await withClient(url, async client => {
        for (let n = 0; n < 15; n++) {
          await client.query('begin')
          for (let k = random.int(6); k >= 0; k--) await client.query(statement(random, random.pick(names)))
          await client.query(random.int(8) === 0 ? 'rollback' : 'commit')
        }
        if (random.int(3) === 0)
          await client.query(
            'select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null',
          )
        if (random.int(4) === 0) await captured.stop()
        if (random.int(6) === 0) {
          await captured.stop()
          const drop = `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'mainstem_test_db'`
          // The server may need a moment to see that the connection has ended.
          await until(() =>
            client.query(drop).then(
              () => true,
              () => false,
            ),
          )
          await client.query(statement(random, 'plain'))
        }
      })
      if (captured.isStopped) await captured.start({ resnapshot: true })
      await captured.level()
      const tables = await captured.fold()
      for (const name of names) {
        const rows = await withClient(url, async client => (await client.query(`select id, n, body from ${name}`)).rows)
        const refused = rows.filter(each => each.n > 9).map(each => String(each.id))
        const parked = captured.connector.parked(1_000).filter(entry => entry.topic === `db.${name}`)
        expect(parked.map(entry => entry.key).sort()).toEqual(refused.sort())
        const folded = tables.get(`db.${name}`) ?? new Map()
        for (const each of rows)
          if (each.n <= 9)
            expect(JSON.stringify(folded.get(String(each.id))) === JSON.stringify(each), `${name} ${each.id}`).toBe(
              true,
            )
        const ids = new Set(rows.map(each => String(each.id)))
        expect([...folded.keys()].filter(id => !ids.has(id))).toEqual([])
      }
    }
  } finally {
    await captured.close()
  }
})
