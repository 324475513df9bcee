// Rows of a megabyte, of which the server sends only what was changed: the mirror, on disk, has the rest.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Captured, source } from './support.ts'

const MIB = 1024 * 1024
const ROWS = 128
/** Of heap and buffers in use: what one transaction brings is three times as much. */
const GROWTH_MIB_MAX = 128
/** Garbage is no growth, and when it goes is the collector's affair. */
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const row = z.object({ id: z.int(), title: z.string(), body: z.string() })

let server: PostgresServer
beforeAll(async () => {
  server = await openTestPostgres()
})
afterAll(() => server?.stop())

/** How much more memory than before is used at most. */
async function growthOf(work: () => Promise<void>): Promise<number> {
  const used = () => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return (heapUsed + external) / MIB
  }
  const before = used()
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, used())
  }, 400)
  await work()
  clearInterval(timer)
  return most - before
}

test('rows of a megabyte each are whole in every change, in bounded memory, however many of them one transaction has', async () => {
  const url = await createDatabase(server)
  const db = source(url)
  const captured = new Captured(db, url, [db.table('docs', { key: 'id', row })])
  try {
    await captured.run(
      'create table docs (id int primary key, title text not null, body text not null)',
      'alter table docs alter body set storage external',
      `insert into docs select n, 'first', repeat(md5(n::text), ${MIB / 32}) from generate_series(1, ${ROWS}) n`,
    )
    const ofSnapshot = await growthOf(async () => {
      await captured.start()
      await captured.level()
    })
    expect(ofSnapshot).toBeLessThan(GROWTH_MIB_MAX)
    const { end } = captured.log
    // The server sends titles only, some kilobytes; each change is two rows of a megabyte.
    const ofStream = await growthOf(async () => {
      await captured.run(`update docs set title = 'second'`)
      await captured.level()
    })
    expect(ofStream).toBeLessThan(GROWTH_MIB_MAX)
    const seen: unknown[] = []
    const reader = captured.log.read(end)
    for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) {
      for (const block of blocks) {
        const records = block.records()
        while (records.next()) {
          if (records.topic.name !== 'db.docs') continue
          const { before, after } = { before: records.before(), after: records.after() }
          const same = before?.['body'] === after?.['body']
          seen.push([after?.['id'], before?.['title'], after?.['title'], same, String(after?.['body']).length])
        }
      }
    }
    reader.close()
    expect(seen).toEqual(Array.from({ length: ROWS }, (_, n) => [n + 1, 'first', 'second', true, MIB]))
    expect(await captured.audit()).toMatchObject({ equal: true })
  } finally {
    await captured.close()
  }
})
