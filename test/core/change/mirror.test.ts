import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  compileContract,
  controlContract,
  type Log,
  type LogTopic,
  type Mirror,
  type MirrorTable,
  openEmbeddedLog,
  openMirror,
  openTableStore,
  placeParked,
  Recorder,
} from '../../../core/index.ts'

const rowSchema = z.object({ id: z.int(), note: z.string().nullable() })
const contract = compileContract('db.t', 'table', rowSchema, 'id')

let folder: string
let log: Log
let topic: LogTopic
let mirror: Mirror
let table: MirrorTable

const open = async (as = contract) => {
  topic = await log.topic(as)
  mirror = await openMirror({ path: join(folder, 'mirror'), log, source: 'db', tables: [{ contract: as, topic }] })
  table = mirror.table('db.t')
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mainstem-mirror-'))
  log = await openEmbeddedLog({ path: join(folder, 'log') })
  await open()
})
afterEach(async () => {
  await mirror.close()
  await log.close()
  rmSync(folder, { recursive: true, force: true })
})

const keyOf = (id: number): Buffer => contract.key.encode(id)
const rowOf = (id: number): AnyRow | undefined => {
  const stored = table.find(keyOf(id))
  return stored && table.row(stored)
}
const never = () => {
  throw new Error('not refused')
}
const refusal = (id: number, error: string) => ({
  key: keyOf(id),
  keyText: String(id),
  raw: { id: String(id), note: null },
  error,
})

/** One transaction of a source, durable and, if asked, committed in the mirror. */
async function transaction(fill: (recorder: Recorder) => void, commit = true): Promise<void> {
  const batch = log.batch()
  const recorder = new Recorder(mirror, batch)
  fill(recorder)
  const appended = await batch.commit({ source: 'db', position: '0/1' })
  placeParked(recorder.takeParked(), '0/1', appended.first)
  if (commit) await mirror.commit(appended.last)
}
const put = (id: number, note: string | null, oldId?: number) => (recorder: Recorder) =>
  recorder.upsert(
    table,
    keyOf(id),
    recorder.encode(table, { id, note }),
    oldId === undefined ? undefined : keyOf(oldId),
    never,
  )

async function ops(): Promise<string[]> {
  const reader = log.read(0)
  const seen: string[] = []
  for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) {
    for (const block of blocks) {
      const records = block.records()
      while (records.next())
        seen.push(`${records.op} ${JSON.stringify(records.parked()?.op ?? [records.before(), records.after()])}`)
    }
  }
  reader.close()
  return seen
}

describe('the recorder', () => {
  test('chains several changes of one row in one transaction, and says nothing where nothing changed', async () => {
    await transaction(recorder => {
      put(1, 'a')(recorder)
      put(1, 'b')(recorder)
      put(1, 'b')(recorder)
      put(2, 'b', 1)(recorder)
      recorder.delete(table, keyOf(2), '2')
      recorder.delete(table, keyOf(2), '2')
    })
    expect(await ops()).toEqual([
      'insert [null,{"id":1,"note":"a"}]',
      'update [{"id":1,"note":"a"},{"id":1,"note":"b"}]',
      'update [{"id":1,"note":"b"},{"id":2,"note":"b"}]',
      'delete [{"id":2,"note":"b"},null]',
    ])
    expect(rowOf(1)).toBeUndefined()
    expect(rowOf(2)).toBeUndefined()
  })

  test('a row that moves onto a stale one takes its place', async () => {
    await transaction(recorder => {
      put(1, 'a')(recorder)
      put(2, 'stale')(recorder)
      put(2, 'a', 1)(recorder)
    })
    expect((await ops()).slice(2)).toEqual([
      'delete [{"id":2,"note":"stale"},null]',
      'update [{"id":1,"note":"a"},{"id":2,"note":"a"}]',
    ])
    expect(rowOf(2)).toEqual({ id: 2, note: 'a' })
  })

  test('a parked row that goes back to what was accepted is recorded as no longer parked', async () => {
    await transaction(put(1, 'a'))
    await transaction(recorder => recorder.park(table, 'update', refusal(1, 'bad'), undefined))
    expect(mirror.parked(9)).toMatchObject([{ key: '1', error: 'bad', position: '0/1', logPosition: 2 }])
    await transaction(put(1, 'a'))
    expect(mirror.parked(9)).toEqual([])
    expect((await ops()).slice(1)).toEqual(['parked "update"', 'parked "delete"'])
  })
})

describe('the mirror', () => {
  test('keeps a large transaction out of memory, and is whole again where its commit was cut short', async () => {
    for (let id = 0; id < 50; id++) await transaction(put(id, 'old'), false)
    await transaction(recorder => recorder.park(table, 'insert', refusal(60, 'bad'), undefined))
    const batch = log.batch()
    const recorder = new Recorder(mirror, batch)
    const all = () => [...new Map([...table.keys()].map(key => [key.toString('hex'), key])).values()]
    for (let id = 0; id < 20_000; id++) {
      put(id % 10_000, `new ${id}`)(recorder)
      if (id % 1_000 === 7) recorder.park(table, 'update', refusal(100_000 + id, 'worse'), undefined)
      if (mirror.isLarge) {
        await batch.spill()
        await mirror.spill()
        expect(mirror.pending).toBe(0)
      }
    }
    put(0, null)(recorder)
    recorder.delete(table, undefined, '100007')
    const check = () => {
      expect(all().filter(key => table.find(key))).toHaveLength(10_000)
      expect([rowOf(0), rowOf(3), rowOf(9_999)].map(row => row?.['note'])).toEqual([null, 'new 10003', 'new 19999'])
      expect([table.parkedCount, mirror.parkedCount]).toEqual([19, 19])
      const keys = mirror.parked(99).map(entry => entry.key)
      expect(keys.sort()).toEqual(Array.from({ length: 19 }, (_, n) => String(101_007 + n * 1_000)).sort())
    }
    check()
    const appended = await batch.commit({ source: 'db', position: '0/2' })
    placeParked(recorder.takeParked(), '0/2', appended.first)
    check()
    // Its rows, without the position that they are of: what a kill in the midst of the commit leaves.
    const path = join(folder, 'mirror')
    const rows = [...all()].slice(0, 4_000).map(key => [key, table.find(key)] as const)
    const parkedRow = Buffer.from(JSON.stringify(mirror.parked(99).find(entry => entry.key === '101007')))
    await mirror.close()
    const store = openTableStore(path)
    for (const [key, value] of rows) if (value) store.put('db.t', key, value)
    store.put('parked.db.t', Buffer.from('101007'), parkedRow)
    await store.commit()
    await store.close()
    await open()
    check()
    await mirror.close()
    rmSync(path, { recursive: true })
    await open()
    check()
  })

  test('catches up from the log with what it had not committed, parked rows and control records too', async () => {
    const control = await log.topic(controlContract())
    await transaction(put(1, 'a'))
    await transaction(recorder => {
      put(1, 'b')(recorder)
      put(2, 'x')(recorder)
      put(3, 'x', 2)(recorder)
      recorder.park(table, 'insert', refusal(7, 'bad'), undefined)
      recorder.park(table, 'insert', refusal(8, 'bad'), undefined)
      recorder.delete(table, undefined, '8')
    }, false)
    const batch = log.batch()
    for (const source of ['db', 'other']) {
      batch.event(control, {
        source,
        event: 'snapshot-ended',
        reading: null,
        begins: {},
        epoch: 3,
        position: source,
        identity: { system: 's' },
        tables: { 'db.t': ['id'] },
      })
    }
    await batch.commit()
    await mirror.close()
    await open()
    expect([rowOf(1), rowOf(2), rowOf(3)]).toEqual([{ id: 1, note: 'b' }, undefined, { id: 3, note: 'x' }])
    expect(mirror.parked(9)).toMatchObject([{ key: '7', logPosition: 5 }])
    expect(mirror.parkedCount).toBe(1)
    expect(mirror.control).toMatchObject({ phase: 'snapshot-ended', epoch: 3, position: 'db' })
    expect(mirror.position).toBe(log.end)
  })

  test('is made again from the log when its folder is gone, or the contract has another layout', async () => {
    await transaction(put(1, 'a'))
    await mirror.close()
    rmSync(join(folder, 'mirror'), { recursive: true })
    await open()
    expect(rowOf(1)).toEqual({ id: 1, note: 'a' })
    await mirror.close()
    const wider = compileContract('db.t', 'table', rowSchema.extend({ more: z.string().nullable() }), 'id')
    await open(wider)
    expect(rowOf(1)).toEqual({ id: 1, note: 'a', more: null })
  })

  test('is made again when it belongs to another log', async () => {
    await transaction(put(1, 'a'))
    await mirror.close()
    await log.close()
    rmSync(join(folder, 'log'), { recursive: true })
    log = await openEmbeddedLog({ path: join(folder, 'log') })
    await open()
    expect(rowOf(1)).toBeUndefined()
  })

  test('walks over all keys, committed, being committed, and new', async () => {
    await transaction(put(1, 'a'))
    const running = transaction(put(2, 'b'))
    await transaction(put(3, 'c'), false)
    expect(new Set([...table.keys()].map(key => contract.key.decode(key)))).toEqual(new Set([1, 2, 3]))
    await running
    expect(new Set([...table.keys()].map(key => contract.key.decode(key)))).toEqual(new Set([1, 2, 3]))
  })
})
