// An audit finds what a session kept out of the binary log, and mends it.
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createMariadbDatabase } from '../../support/mariadb.ts'
import { databaseNamed } from '../conformance/databases.ts'
import { SERVERS } from './servers.ts'
import { Captured, source } from './support.ts'

describe.each(SERVERS)('an audit of $name', ({ name, isMissing, open }) => {
  test.skipIf(isMissing())(
    'changes that were not logged are found by their keys, of any type, and mended',
    async () => {
      await using server = await open()
      const url = await createMariadbDatabase(server)
      const db = source(url)
      const { series } = databaseNamed(name)
      const many = db.table('many', {
        key: 'id',
        row: z.object({ id: z.bigint(), n: z.int32(), text: z.string().nullable(), ratio: z.number() }),
      })
      const few = db.table('few', {
        key: ['kind', 'word', 'day'],
        row: z.object({ kind: z.enum(['zulu', 'alpha']), word: z.string(), day: z.iso.date(), n: z.int32() }),
      })
      const captured = new Captured(db, url, [many, few])
      try {
        await captured.run(
          'create table many (id bigint unsigned primary key, n int not null, text longtext, ratio float not null)',
          `create table few (kind enum('zulu', 'alpha'), word varchar(30) character set latin1, day date, n int not null,
         primary key (kind, word, day))`,
          `insert into many select n + 9007199254740000, n % 17, repeat('x', n % 50), n / 7 from ${series(3_000)}`,
          `insert into few select 1 + n % 2, concat('ä ', n % 7), '2024-01-01' + interval n day, n from ${series(300)}`,
        )
        await captured.start()
        await captured.level()
        expect(await captured.audit()).toMatchObject({ equal: true, tables: [{ rows: 3_000 }, { rows: 300 }] })
        await captured.run(
          `set sql_log_bin = 0; update many set n = n + 1 where id = 9007199254740993;
       delete from many where id = 9007199254740995; update few set n = 1000 where n = 50`,
        )
        const { equal, tables } = await captured.audit()
        expect(equal).toBe(false)
        expect(tables[0]?.keys).toEqual([
          { key: '9007199254740993', kind: 'differs', columns: ['n'] },
          { key: '9007199254740995', kind: 'extra', columns: [] },
        ])
        expect(tables[1]?.keys).toHaveLength(1)
        expect(await captured.audit({ repair: true })).toMatchObject({ repaired: 3 })
        expect(await captured.audit()).toMatchObject({ equal: true })
      } finally {
        await captured.close()
      }
    },
  )
})
