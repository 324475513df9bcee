// A mirror made from a compacted log is the one that the whole log gives, parked rows included; and one that stands within the base
// of another generation is made again.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, openEmbeddedLog, openMirror, placeParked, Recorder } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'

const contract = compileContract('db.t', 'table', z.object({ id: z.int(), note: z.string().nullable() }), 'id')
const KEYS = 12

describe('a mirror over a compacted log', () => {
  it.each([1, 2, 3])('has the rows and parked rows of the whole one (seed %i)', async seed => {
    const random = new Random(seed)
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-mirror-'))
    const log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: 3_000 })
    const topic = await log.topic(contract)
    const open = (name: string) =>
      openMirror({ path: join(folder, name), log, source: 'db', tables: [{ contract, topic }] })
    const mirror = await open('whole')
    const table = mirror.table('db.t')
    const content = (of: typeof mirror) => {
      const rows = new Map<number, unknown>()
      for (const key of of.table('db.t').keys()) {
        const stored = of.table('db.t').find(key)
        if (stored) rows.set(contract.key.decode(key) as number, of.table('db.t').row(stored))
      }
      return {
        rows: [...rows].sort(([a], [b]) => a - b),
        parked: of
          .parked(100)
          .map(({ key, raw, logPosition }) => `${key} ${JSON.stringify(raw)} ${logPosition}`)
          .sort(),
      }
    }
    const refused = (id: number, n: number) => ({
      key: contract.key.encode(id),
      keyText: String(id),
      raw: { id: String(id), note: String(n) },
      error: 'no',
    })
    const change = (recorder: Recorder, n: number) => {
      const id = random.int(KEYS)
      const key = contract.key.encode(id)
      const old = random.int(KEYS)
      const oldKey = old !== id && random.int(4) === 0 ? contract.key.encode(old) : undefined
      const how = random.int(10)
      if (how < 2) recorder.delete(table, key, String(id))
      else if (how < 4) recorder.park(table, 'update', refused(id, n), oldKey)
      else recorder.upsert(table, key, recorder.encode(table, { id, note: `n${n}` }), oldKey, () => refused(id, n))
    }
    let middle: Awaited<ReturnType<typeof open>> | undefined
    for (let n = 0; n < 250; n++) {
      const batch = log.batch()
      const recorder = new Recorder(mirror, batch)
      for (let changes = 1 + random.int(3); changes > 0; changes--) change(recorder, n)
      const { first, last } = await batch.commit({ source: 'db', position: String(n) })
      placeParked(recorder.takeParked(), String(n), first)
      if (n % 50 === 49) await mirror.commit(last)
      if (n === 60) {
        middle = await open('middle')
        await middle.close()
      }
    }
    const before = await open('before')
    const expected = content(before)
    expect(expected.rows).toEqual(content(mirror).rows)
    await before.close()
    const { to, recordsBefore, recordsAfter, limitedBy } = await log.clean({
      compact: { 'db.t': Number.POSITIVE_INFINITY },
    })
    expect(limitedBy).toBeUndefined()
    expect([to > middle!.position, recordsAfter < recordsBefore / 2]).toEqual([true, true])
    for (const name of ['fresh', 'middle']) {
      const other = await open(name)
      expect(content(other), name).toEqual(expected)
      await other.close()
    }
    await mirror.close()
    await log.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it('holds the log back at its last commit', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-mirror-'))
    const log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: 500 })
    const topic = await log.topic(contract)
    const mirror = await openMirror({ path: join(folder, 'm'), log, source: 'db', tables: [{ contract, topic }] })
    for (let n = 0; n < 60; n++) {
      const batch = log.batch()
      batch.insert(topic, { id: 1, note: String(n) })
      const { last } = await batch.commit()
      if (n === 30) await mirror.commit(last)
    }
    const compact = { 'db.t': Number.POSITIVE_INFINITY }
    expect(await log.clean({ compact })).toMatchObject({ limitedBy: { name: 'mirror db', position: 31 } })
    await mirror.close()
    expect((await log.clean({ compact })).to).toBeGreaterThan(31)
    await log.close()
    rmSync(folder, { recursive: true, force: true })
  })
})
