// Records lent as accessors against the same records decoded: random contracts, events, inserts, updates and deletes, from hot
// segments and from sealed ones.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'
import { randomObject } from '../../support/random-schema.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-lend-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const open = (seal: boolean): Promise<EmbeddedLog> =>
  openEmbeddedLog({ path: join(folder, `log-${seal}`), seal, segmentBytesMax: 16 * 1024 })

/** Walks the log; gives the number of records lent. */
async function compare(log: EmbeddedLog, what: string): Promise<number> {
  let count = 0
  const reader = log.read(0)
  while (count < log.end) {
    for (const block of (await reader.next()) ?? []) {
      const cursor = block.records()
      while (cursor.next()) {
        count++
        const [before, after] = [cursor.lendBefore(), cursor.lendAfter()]
        for (const [lent, row] of [
          [before, cursor.before()],
          [after, cursor.after()],
        ]) {
          const copy = lent === null ? null : structuredClone(lent)
          if (!isDeepStrictEqual(copy, row)) expect(copy, `${what}, record ${cursor.position}`).toEqual(row)
        }
        cursor.recall()
      }
    }
  }
  reader.close()
  return count
}

describe('a record that is lent', () => {
  it.each([1, 2, 3, 4, 5, 6])('reads as the decoded one, hot and sealed (seed %i)', async seed => {
    for (const seal of [false, true]) {
      const random = new Random(seed)
      const made = randomObject(random)
      const schema = made.schema.extend({ key: z.int() })
      const log = await open(seal)
      const event = await log.topic(compileContract('events', 'topic', schema, 'key'))
      const table = await log.topic(compileContract('rows', 'table', schema, 'key'))
      const row = (key: number): AnyRow => ({ ...made.value(random), key })
      for (let key = 0; key < 300; key += 60) {
        const batch = log.batch()
        for (let n = key; n < key + 60; n++) {
          batch.event(event, row(n))
          batch.insert(table, row(n))
          batch.update(table, row(n), row(n))
          batch.delete(table, row(n))
        }
        await batch.commit()
      }
      await log.sealed()
      expect(await compare(log, `seed ${seed}, ${seal ? 'sealed' : 'hot'}`)).toBe(1_200)
      await log.close()
    }
  })

  it('is copied by a spread, cannot be written, and throws once it is taken back', async () => {
    const log = await open(false)
    const schema = z.object({ id: z.int(), name: z.string(), in: z.object({ city: z.string() }).nullable() })
    const topic = await log.topic(compileContract('events', 'topic', schema, 'id'))
    const value = { id: 1, name: 'Ada', in: { city: 'Bern' } }
    const batch = log.batch()
    batch.event(topic, value)
    batch.event(topic, { id: 2, name: 'Bob', in: null })
    await batch.commit()
    const [block] = (await log.read(0).next())!
    const cursor = block!.records()
    cursor.next()
    const lent = cursor.lendAfter()!
    expect({ ...lent }).toMatchObject({ id: 1, name: 'Ada' })
    expect(JSON.parse(JSON.stringify(lent))).toEqual(value)
    expect(() => {
      lent['id'] = 2
    }).toThrow(TypeError)
    const inner = lent['in'] as AnyRow
    cursor.recall()
    const expired = expect.objectContaining({
      code: 'CURSOR_EXPIRED',
      message: `a record of 'events' was used after its handler returned`,
    })
    expect(() => lent['name']).toThrow(expired)
    expect(() => inner['city']).toThrow(expired)
    cursor.next()
    expect({ ...cursor.lendAfter() }).toEqual({ id: 2, name: 'Bob', in: null })
    await log.close()
  })
})
