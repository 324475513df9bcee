// What every implementation of the port `Log` does. Run on the embedded log (real files, simulated disk, small segments) and on
// the model in memory.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type Log, type ParkedRow } from '../../../core/index.ts'
import {
  allRecords,
  appendMarkers,
  blocksOf,
  markersContract,
  recordsOf,
  wholeBatches,
} from '../../support/log-records.ts'

/** A log, and how to close it and open what it left again. */
export interface LogUnderTest {
  readonly log: Log
  readonly reopen: () => Promise<Log>
}

const orders = compileContract(
  'shop.orders',
  'table',
  z.object({ id: z.int(), customer: z.string(), total: z.bigint(), at: z.date().nullable() }),
  'id',
)
const clicks = compileContract('clicks', 'topic', z.object({ user: z.string(), page: z.string() }), 'user')

const order = (id: number, customer = 'ann') => ({ id, customer, total: 10n ** 20n + BigInt(id), at: new Date(id) })

export function describeLog(name: string, open: () => Promise<LogUnderTest>): void {
  describe(`the log on ${name}`, () => {
    it('gives dense positions from 1, in the order of the commits', async () => {
      const { log } = await open()
      const topic = await log.topic(markersContract)
      expect(log.end).toBe(0)
      const appended = await Promise.all([1, 2, 3].map(n => appendMarkers(log, topic, n, n)))
      expect(appended).toEqual([
        { first: 1, last: 1 },
        { first: 2, last: 3 },
        { first: 4, last: 6 },
      ])
      expect(log.end).toBe(6)
      expect(await wholeBatches(log)).toEqual([1, 2, 3])
      await log.close()
    })

    it('appends a batch that was spilled like any other, and nothing of one that was discarded', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(markersContract)
      const fill = async (n: number) => {
        const batch = log.batch()
        for (let index = 0; index < 40; index++) {
          batch.insert(topic, { batch: n, index, of: 40, filler: 'f'.repeat(100_000) })
          await batch.spill()
        }
        return batch
      }
      await (await fill(1)).discard()
      expect(await (await fill(2)).commit({ source: 'shop', position: '2' })).toEqual({ first: 1, last: 40 })
      expect(await wholeBatches(log)).toEqual([2])
      await log.close()
      const again = await reopen()
      expect(await wholeBatches(again)).toEqual([2])
      await again.close()
    })

    it('gives back each kind of record as it was appended, also after a restart', async () => {
      const { log, reopen } = await open()
      const [table, events] = [await log.topic(orders), await log.topic(clicks)]
      const parked: ParkedRow = {
        op: 'insert',
        key: '7',
        raw: { id: '7', customer: null },
        error: 'customer: expected string',
      }
      const batch = log.batch()
      batch.insert(table, order(1))
      batch.update(table, order(1), order(2, 'bob'.repeat(100)))
      batch.delete(table, order(2))
      batch.event(events, { user: 'u', page: '/' })
      batch.parked(table, parked)
      expect(batch.count).toBe(5)
      await batch.commit()
      const expected = [
        { position: 1, topic: 'shop.orders', op: 'insert', before: null, after: order(1) },
        { position: 2, topic: 'shop.orders', op: 'update', before: order(1), after: order(2, 'bob'.repeat(100)) },
        { position: 3, topic: 'shop.orders', op: 'delete', before: order(2), after: null },
        { position: 4, topic: 'clicks', op: 'event', before: null, after: { user: 'u', page: '/' } },
        { position: 5, topic: 'shop.orders', op: 'parked', before: null, after: null },
      ]
      expect(await allRecords(log)).toEqual(expected)
      const again = await reopen()
      expect(await allRecords(again)).toEqual(expected)
      const last = (await blocksOf(again, 4))[0]?.records()
      expect(last?.next()).toBe(true)
      expect(last?.parked()).toEqual(parked)
      expect(last?.next()).toBe(false)
      expect(again.id).toBe(log.id)
      await again.close()
    })

    it('stores the mark of a source with its batch, in heartbeats too', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(markersContract)
      const mark = { source: 'shop', position: '0/16B3748', transaction: '771', commitTimeUs: 1_700_000_000_123_456 }
      const batch = log.batch()
      batch.insert(topic, { batch: 1, index: 0, of: 1, filler: '' })
      await batch.commit(mark)
      expect(log.mark('shop')).toEqual(mark)
      expect(await log.batch().commit({ source: 'billing', position: '0/1', snapshot: true })).toEqual({
        first: 2,
        last: 1,
      })
      expect(log.end).toBe(1)
      const again = await reopen()
      expect(again.mark('shop')).toEqual(mark)
      expect(again.mark('billing')).toEqual({ source: 'billing', position: '0/1', snapshot: true })
      expect(again.mark('other')).toBeUndefined()
      const blocks = await blocksOf(again)
      expect(blocks.map(block => [block.first, block.count, block.mark?.source])).toEqual([
        [1, 1, 'shop'],
        [2, 0, 'billing'],
      ])
      await again.close()
    })

    it('answers a batch without records and mark when all before it is durable', async () => {
      const { log } = await open()
      const topic = await log.topic(markersContract)
      const answered: string[] = []
      const first = appendMarkers(log, topic, 1, 1).then(() => answered.push('batch'))
      const second = log
        .batch()
        .commit()
        .then(({ last }) => answered.push(`empty ${last}`))
      await Promise.all([first, second])
      expect(answered).toEqual(['batch', 'empty 1'])
      expect(await blocksOf(log)).toHaveLength(1)
      await log.close()
    })

    it('refuses a record that is not of its contract and keeps the rest of the batch', async () => {
      const { log } = await open()
      const topic = await log.topic(orders)
      const batch = log.batch()
      batch.insert(topic, order(1))
      const { bytes } = batch
      expect(() => batch.insert(topic, { ...order(2), total: 5 })).toThrow(
        expect.objectContaining({ code: 'RECORD_REFUSED' }),
      )
      expect(() => batch.update(topic, order(1), { ...order(2), id: 1.5 })).toThrow(/id/)
      const huge = order(3, 'x'.repeat(17 * 1024 * 1024))
      expect(() => batch.insert(topic, huge)).toThrow(expect.objectContaining({ code: 'RECORD_TOO_LARGE' }))
      expect([batch.count, batch.bytes]).toEqual([1, bytes])
      batch.insert(topic, order(4))
      await batch.commit()
      expect((await allRecords(log)).map(({ after }) => after)).toEqual([order(1), order(4)])
      await log.close()
    })

    it('cuts a large batch into blocks of about 1 MiB, of which only the last says so', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(markersContract)
      await Promise.all([
        appendMarkers(log, topic, 1, 3),
        appendMarkers(log, topic, 2, 3_000, 'x'.repeat(900)),
        appendMarkers(log, topic, 3, 1),
      ])
      const again = await reopen()
      expect(await wholeBatches(again)).toEqual([1, 2, 3])
      const blocks = await blocksOf(again)
      expect(blocks.map(block => block.last)).toEqual([true, false, false, true, true])
      expect(blocks.map(block => block.mark?.position)).toEqual(['1', '2', '2', '2', '3'])
      await again.close()
    })

    it('keeps records larger than a block', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(markersContract)
      const filler = 'y'.repeat(5 * 1024 * 1024)
      const batch = log.batch()
      for (const [index, text] of ['', filler, ''].entries())
        batch.insert(topic, { batch: 1, index, of: 3, filler: text })
      await batch.commit()
      const again = await reopen()
      expect(await wholeBatches(again)).toEqual([1])
      expect((await allRecords(again))[1]?.after?.['filler']).toBe(filler)
      await again.close()
    })

    it('begins to read after any position', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(markersContract)
      for (let n = 1; n <= 20; n++) await appendMarkers(log, topic, n, 7, 'z'.repeat(n * 10))
      const again = await reopen()
      for (let after = 0; after <= again.end; after += 3) {
        const positions = (await allRecords(again, after)).map(({ position }) => position)
        expect(positions).toEqual(Array.from({ length: again.end - after }, (_, n) => after + 1 + n))
      }
      await again.close()
    })

    it('begins to read after any block of a large segment, with the heartbeats that follow it', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(markersContract)
      for (let n = 1; n <= 6; n++) {
        await appendMarkers(log, topic, n, 2, 'h'.repeat(150_000))
        await log.batch().commit({ source: 'billing', position: String(n) })
      }
      const again = await reopen()
      for (let after = 0; after <= again.end; after++) {
        const seen = (await blocksOf(again, after)).map(({ first, count }) => [first, count])
        const half = after % 2 ? [[after + 1, 1]] : []
        const rest = Array.from({ length: 6 }, (_, n) => [2 * n + 1, 2]).filter(([first = 0]) => first > after)
        const blocks = [...half, ...rest].flatMap(([first = 0, count = 0]) => [
          [first, count],
          [first + count, 0],
        ])
        // The heartbeat at the place itself is not behind who begins there.
        expect(seen).toEqual(after > 0 && after % 2 === 0 ? [[after + 1, 0], ...blocks] : blocks)
      }
      await again.close()
    })

    it('gives readers that wait what is appended later, each batch whole', async () => {
      const { log } = await open()
      const topic = await log.topic(markersContract)
      const reader = log.read(0)
      expect(await reader.ready()).toEqual([])
      const next = reader.next()
      await appendMarkers(log, topic, 1, 2)
      expect(recordsOf((await next) ?? [])).toHaveLength(2)
      expect(reader.position).toBe(2)
      const waiting = reader.next()
      reader.close()
      expect(await waiting).toBeUndefined()
      const other = log.read(2)
      const ended = other.next()
      await log.close()
      expect(await ended).toBeUndefined()
    })

    it('gives append times that never go back', async () => {
      const { log } = await open()
      const topic = await log.topic(markersContract)
      for (let n = 1; n <= 5; n++) await appendMarkers(log, topic, n, 1)
      const times = (await blocksOf(log)).map(block => block.appendTimeMs)
      expect(times).toEqual([...times].sort((a, b) => a - b))
      await log.close()
    })

    it('writes what was committed before it closes, and refuses what comes after', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(markersContract)
      const late = appendMarkers(log, topic, 1, 1)
      const again = await reopen()
      expect(await late).toEqual({ first: 1, last: 1 })
      expect(await wholeBatches(again)).toEqual([1])
      await expect(appendMarkers(log, topic, 2, 1)).rejects.toMatchObject({ code: 'LOG_CLOSED' })
      await expect(log.topic(markersContract)).rejects.toMatchObject({ code: 'LOG_CLOSED' })
      expect(log.status().state).toBe('closed')
      await again.close()
    })

    it('has room, and says nothing of pressure, as long as nothing bounds it', async () => {
      const { log } = await open()
      const said: (string | null)[] = []
      const unwatch = log.onPressure(pressure => said.push(pressure))
      expect(log.pressure).toBeNull()
      expect(log.status()).toMatchObject({ state: 'open', bytesMax: null, waitingFor: null })
      await log.room()
      await appendMarkers(log, await log.topic(markersContract), 1, 1)
      await log.room({ bytes: 1_000_000, signal: new AbortController().signal })
      unwatch()
      await log.close()
      expect(said).toEqual([])
    })

    it('gives a closed reader nothing more, though it has not read all', async () => {
      const { log } = await open()
      const topic = await log.topic(markersContract)
      for (let n = 1; n <= 3; n++) await appendMarkers(log, topic, n, 1)
      const reader = log.read(0)
      reader.close()
      expect(await reader.ready()).toEqual([])
      expect(await reader.next()).toBeUndefined()
      await log.close()
    })

    it('reads records by a contract that has grown, over restarts too, and refuses one that does not fit them', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(orders)
      const batch = log.batch()
      batch.insert(topic, order(1))
      await batch.commit()
      const grown = compileContract(
        'shop.orders',
        'table',
        orders.schema.extend({ note: z.string().nullable(), size: z.int().default(3), at: z.date().nullish() }),
        'id',
      )
      expect([log.contractChanged(orders), log.contractChanged(grown)]).toEqual([false, true])
      await log.topic(grown)
      expect([log.contractChanged(orders), log.contractChanged(grown)]).toEqual([true, false])
      const expected = { ...order(1), note: null, size: 3 }
      expect((await allRecords(log))[0]?.after).toEqual(expected)
      const other = compileContract('shop.orders', 'table', orders.schema.extend({ total: z.int() }), 'id')
      await expect(log.topic(other)).rejects.toMatchObject({ code: 'CONTRACT_CHANGED' })
      const again = await reopen()
      expect((await allRecords(again))[0]?.after).toEqual(expected)
      await expect(again.topic(other)).rejects.toMatchObject({ code: 'CONTRACT_CHANGED' })
      await again.close()
    })

    it('keeps the variants of a union apart, adds some, and refuses to lose one', async () => {
      const { log, reopen } = await open()
      const seat = z.object({ seat: z.int() })
      const held = seat.extend({ type: z.literal('held'), by: z.string() })
      const booked = seat.extend({ type: z.literal('booked'), cents: z.bigint() })
      const later = held.extend({ note: z.string().default('none') })
      const free = seat.extend({ type: z.literal('free') })
      const declare = (...options: z.ZodObject[]) =>
        compileContract('seats', 'topic', z.discriminatedUnion('type', options as [z.ZodObject]), 'seat')
      const topic = await log.topic(declare(held, booked))
      const rows = [
        { seat: 1, type: 'held', by: 'ada' },
        { seat: 1, type: 'booked', cents: 5n },
      ]
      const batch = log.batch()
      for (const row of rows) batch.event(topic, row)
      expect(() => batch.event(topic, { seat: 1, type: 'free' })).toThrow(
        expect.objectContaining({ code: 'RECORD_REFUSED' }),
      )
      await batch.commit()
      expect([declare(booked, held), declare(held, booked, free)].map(each => log.contractChanged(each))).toEqual([
        false,
        true,
      ])
      const again = await reopen()
      await expect(again.topic(declare(held))).rejects.toMatchObject({ code: 'CONTRACT_CHANGED' })
      const grown = await again.topic(declare(free, later, booked))
      const more = again.batch()
      more.event(grown, { seat: 1, type: 'free' })
      await more.commit()
      expect((await allRecords(again)).map(({ after }) => after)).toEqual([
        { ...rows[0], note: 'none' },
        rows[1],
        { seat: 1, type: 'free' },
      ])
      await again.close()
    })

    it('refuses records of a topic it does not have, and a batch that was committed', async () => {
      const { log } = await open()
      const topic = await log.topic(orders)
      const batch = log.batch()
      const stranger = { id: 99, name: 'stranger', contract: orders }
      expect(() => batch.insert(stranger, order(1))).toThrow(expect.objectContaining({ code: 'TOPIC_UNKNOWN' }))
      batch.insert(topic, order(1))
      await batch.commit()
      expect(() => batch.insert(topic, order(2))).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
      await expect(batch.commit()).rejects.toMatchObject({ code: 'INTERNAL' })
      expect(await allRecords(log)).toHaveLength(1)
      await log.close()
    })

    it('shows many readers at once the same, wherever they began and however late', async () => {
      const { log } = await open()
      const topic = await log.topic(markersContract)
      const count = 60
      const tail = async (after: number): Promise<number[]> => {
        const reader = log.read(after)
        const positions: number[] = []
        while (reader.position < count * 2)
          positions.push(...recordsOf((await reader.next()) ?? []).map(({ position }) => position))
        reader.close()
        return positions
      }
      const early = [0, 0, 5, 50].map(after => ({ after, positions: tail(after) }))
      for (let n = 1; n <= count; n++) await appendMarkers(log, topic, n, 2)
      const late = [0, 33, 119].map(after => ({ after, positions: tail(after) }))
      for (const { after, positions } of [...early, ...late])
        expect(await positions).toEqual(Array.from({ length: count * 2 - after }, (_, n) => after + 1 + n))
      await log.close()
    })

    it('keeps nothing of the caller’s: what is changed after it was appended stays as it was', async () => {
      const { log } = await open()
      const topic = await log.topic(orders)
      const row = { ...order(1), at: new Date(5) }
      const batch = log.batch()
      batch.insert(topic, row)
      row.at.setTime(9)
      row.customer = 'changed'
      await batch.commit()
      const [seen] = await allRecords(log)
      expect(seen?.after).toEqual({ ...order(1), at: new Date(5) })
      const at = seen?.after?.['at']
      if (at instanceof Date) at.setTime(7)
      expect((await allRecords(log))[0]?.after).toEqual({ ...order(1), at: new Date(5) })
      await log.close()
    })

    it('finds topics by name, also those whose contract nobody gave since the restart', async () => {
      const { log, reopen } = await open()
      const topic = await log.topic(orders)
      const batch = log.batch()
      batch.insert(topic, order(1))
      await batch.commit()
      const again = await reopen()
      expect(again.findTopic('nothing')).toBeUndefined()
      expect(again.findTopic('shop.orders')).toMatchObject({ id: topic.id, contract: { kind: 'table' } })
      expect((await allRecords(again))[0]?.after).toEqual(order(1))
      expect(again.contractChanged(orders)).toBe(false)
      await again.close()
    })
  })
}
