// Events found by tag are those that a plain filter finds, in the order of the log: in hot segments, sealed ones and both, from
// any position, forwards and backwards, and where the tag was declared after they were sealed.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { TagValue } from '../../../core/contract/index.ts'
import { type AnyRow, compileContract, type EmbeddedLog, openEmbeddedLog, topic } from '../../../core/index.ts'
import type { TaggedOptions } from '../../../core/log/log.ts'
import { MemoryLog } from '../../support/memory-log.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const state = z.enum(['open', 'paid', 'gone'])
const shape = {
  id: z.int(),
  customer: z.string(),
  state,
  amount: z.int(),
  big: z.bigint(),
  paid: z.boolean(),
  coupon: z.string().nullable(),
  shop: z.int32().optional(),
  labels: z.array(z.string()),
  numbers: z.array(z.int()).nullish(),
  states: z.array(state),
  note: z.string(),
}
const TAGS = ['customer', 'state', 'amount', 'big', 'paid', 'coupon', 'shop', 'labels', 'numbers', 'states']
const AMOUNTS = [0, -1, 7, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER, -(2 ** 33)]
const BIGS = [0n, -5n, 2n ** 53n, 2n ** 70n, -(2n ** 64n)]
const TEXTS = ['', 'ada', 'größe', '日本', 'a\u0000b', 'x'.repeat(300), '👍']
const ordersOf = (tags: readonly string[]) => compileContract('orders', 'topic', z.object(shape), 'id', [], tags)
const others = compileContract(
  'others',
  'topic',
  z.object({ id: z.int(), customer: z.string() }),
  'id',
  [],
  ['customer'],
)

function order(random: Random): AnyRow {
  const several = <T>(values: readonly T[]) => Array.from({ length: random.int(4) }, () => random.pick(values))
  return {
    id: random.int(9),
    customer: random.pick(TEXTS),
    state: random.pick(state.options),
    amount: random.pick(AMOUNTS),
    big: random.pick(BIGS),
    paid: random.next() < 0.5,
    coupon: random.pick([null, ...TEXTS]),
    shop: random.int(3) || undefined,
    labels: several(TEXTS),
    numbers: random.next() < 0.2 ? undefined : random.pick([null, several(AMOUNTS)]),
    states: several(state.options),
    note: 'n'.repeat(random.int(60)),
  }
}

const SOUGHT: readonly (readonly [field: string, values: readonly TagValue[]])[] = [
  ['customer', [...TEXTS, 'nobody']],
  ['state', ['open', 'paid', 'never']],
  ['amount', [...AMOUNTS, 3]],
  ['big', [...BIGS, 1n]],
  ['paid', [true, false]],
  ['coupon', TEXTS],
  ['shop', [1, 2, 3]],
  ['labels', TEXTS],
  ['numbers', AMOUNTS],
  ['states', ['open', 'gone']],
]

interface Pair {
  readonly log: EmbeddedLog
  readonly model: MemoryLog
}

const open = (disk: SimulatedDisk, seal: boolean, segmentBytesMax = 6_000) =>
  openEmbeddedLog({
    path: '/log',
    fileSystem: disk,
    segmentBytesMax,
    seal,
    onEvent: event => {
      if (event.event === 'log-seal-failed') throw new Error(event.message)
    },
  })

async function declare({ log, model }: Pair, tags: readonly string[]): Promise<void> {
  for (const each of [log, model]) for (const contract of [ordersOf(tags), others]) await each.topic(contract)
}

async function fill({ log, model }: Pair, random: Random, batches: number): Promise<void> {
  for (let n = 0; n < batches; n++) {
    const rows = Array.from({ length: 1 + random.int(5) }, () => order(random))
    for (const each of [log, model]) {
      const batch = each.batch()
      for (const row of rows) {
        batch.event(each.findTopic('orders')!, row)
        batch.event(each.findTopic('others')!, { id: 1, customer: row['customer'] })
      }
      await batch.commit()
    }
  }
}

async function found(log: EmbeddedLog | MemoryLog, field: string, value: TagValue, options: TaggedOptions) {
  const events = []
  for await (const { position, topic: of, event } of log.tagged(log.findTopic('orders')!, field, value, options))
    events.push({ position, topic: of.name, event })
  return events
}

/** Everything sought, whole, and one part of it that is drawn. Gives how many events were compared. */
async function compare({ log, model }: Pair, random: Random, sought = SOUGHT): Promise<number> {
  let count = 0
  for (const [field, values] of sought) {
    for (const value of values) {
      const part = { from: random.int(log.end + 20), limit: random.int(12), backwards: random.next() < 0.5 }
      for (const options of [{ backwards: random.next() < 0.3 }, part]) {
        const expected = await found(model, field, value, options)
        const what = `${field} = ${String(value)} ${JSON.stringify(options)}`
        expect(await found(log, field, value, options), what).toEqual(expected)
        count += expected.length
      }
    }
  }
  return count
}

describe('events by tag', () => {
  it('are those that a filter finds, in hot segments, sealed ones, and both', async () => {
    for (const seal of [false, true]) {
      const random = new Random(seal ? 5 : 6)
      const disk = new SimulatedDisk()
      const pair = { log: await open(disk, seal), model: new MemoryLog() }
      await declare(pair, TAGS)
      await fill(pair, random, 40)
      expect(await compare(pair, random)).toBeGreaterThan(500)
      await pair.log.sealed()
      expect(disk.paths.filter(path => path.endsWith('.sealed')).length > 3).toBe(seal)
      await compare(pair, random)
      await fill(pair, random, 3)
      await compare(pair, random)
      await pair.log.close()
    }
  })

  it('are all found where a tag was declared after their segment was sealed, and once it is taken back and declared again', async () => {
    const random = new Random(8)
    const disk = new SimulatedDisk()
    const pair = { log: await open(disk, true), model: new MemoryLog() }
    await declare(pair, ['customer'])
    await fill(pair, random, 25)
    await pair.log.sealed()
    await compare(pair, random, [['customer', TEXTS]])
    await declare(pair, TAGS)
    await compare(pair, random)
    await fill(pair, random, 20)
    await pair.log.sealed()
    await compare(pair, random)
    await declare(pair, [])
    await expect(found(pair.log, 'customer', 'ada', {})).rejects.toMatchObject({ code: 'TAG_UNKNOWN' })
    await fill(pair, random, 20)
    await pair.log.sealed()
    await pair.log.close()
    const again = { log: await open(disk, true), model: pair.model }
    await declare(again, TAGS)
    await compare(again, random)
    await again.log.close()
  })

  it('are those of the rows as the contract now shows them', async () => {
    const old = z.object({ id: z.int(), label: z.string(), cents: z.int() })
    const next = z.object({
      id: z.int(),
      labels: z.array(z.string()),
      cents: z.int(),
      shop: z.string().default('main'),
    })
    for (const seal of [false, true]) {
      const disk = new SimulatedDisk()
      const log = await open(disk, seal, 1_000)
      const before = await log.topic(compileContract('sales', 'topic', old, 'id', [], ['label', 'cents']))
      for (let id = 0; id < 40; id++) {
        const batch = log.batch()
        batch.event(before, { id, label: `l${id % 3}`, cents: id % 4 })
        await batch.commit()
      }
      const upcast = {
        version: 1,
        schema: old,
        how: ({ label, ...row }: { label: string }) => ({ ...row, labels: [label, 'old'], shop: 'main' }),
      }
      const after = await log.topic(
        compileContract('sales', 'topic', next, 'id', [upcast as never], ['labels', 'cents', 'shop']),
      )
      await log.sealed()
      const ids = async (field: string, value: TagValue, options = {}) => {
        const seen: unknown[] = []
        for await (const { event } of log.tagged(after, field, value, options)) seen.push(event['id'])
        return seen
      }
      const all = Array.from({ length: 40 }, (_, id) => id)
      expect(await ids('labels', 'old')).toEqual(all)
      expect(await ids('shop', 'main', { backwards: true })).toEqual([...all].reverse())
      expect(await ids('labels', 'l1')).toEqual(all.filter(id => id % 3 === 1))
      expect(await ids('cents', 2)).toEqual(all.filter(id => id % 4 === 2))
      await expect(ids('label', 'l1')).rejects.toMatchObject({ code: 'TAG_UNKNOWN' })
      await log.close()
    }
  })

  it('are those of each variant that has the field', async () => {
    const placed = z.object({ type: z.literal('placed'), id: z.int(), customer: z.string(), n: z.int32() })
    const paid = z.object({ type: z.literal('paid'), id: z.int(), customer: z.string().nullable(), n: z.int() })
    const noted = z.object({ type: z.literal('noted'), id: z.int(), labels: z.array(z.string()) })
    const value = z.discriminatedUnion('type', [placed, paid, noted])
    const declared = topic('orders', { key: 'id', value, tags: ['customer', 'labels', 'type', 'n'] })
    for (const seal of [false, true]) {
      const disk = new SimulatedDisk()
      const log = await open(disk, seal, 1_000)
      const orders = await log.topic(compileContract('orders', 'topic', declared.value, 'id', [], declared.tags))
      const events = Array.from({ length: 90 }, (_, id) => {
        if (id % 3 === 0) return { type: 'placed', id, customer: `c${id % 4}`, n: id % 5 }
        if (id % 3 === 1) return { type: 'paid', id, customer: id % 2 ? null : `c${id % 4}`, n: id % 5 }
        return { type: 'noted', id, labels: [`c${id % 4}`] }
      })
      for (const event of events) {
        const batch = log.batch()
        batch.event(orders, event)
        await batch.commit()
      }
      await log.sealed()
      expect(disk.paths.some(path => path.endsWith('.sealed'))).toBe(seal)
      for (const [field, sought] of [
        ['customer', 'c2'],
        ['labels', 'c2'],
        ['type', 'noted'],
        ['n', 3],
      ] as const) {
        const expected = events.filter(event => [(event as AnyRow)[field]].flat().includes(sought))
        expect(expected.length).toBeGreaterThan(5)
        expect((await found(log, field, sought, {})).map(({ event }) => event)).toEqual(expected)
      }
      await log.close()
    }
    const mixed = z.discriminatedUnion('type', [
      placed,
      z.object({ type: z.literal('x'), id: z.int(), customer: z.int() }),
    ])
    expect(() => topic('orders', { key: 'id', value: mixed, tags: ['customer'] })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID', message: expect.stringContaining("'customer'") }),
    )
  })

  it('are found where an event has more of them than are indexed', async () => {
    for (const seal of [false, true]) {
      const log = await open(new SimulatedDisk(), seal, 2_000)
      const many = await log.topic(
        compileContract('many', 'topic', z.object({ id: z.int(), labels: z.array(z.int()) }), 'id', [], ['labels']),
      )
      for (let id = 0; id < 20; id++) {
        const batch = log.batch()
        batch.event(many, { id, labels: Array.from({ length: id === 7 ? 1_000 : 3 }, (_, n) => n) })
        await batch.commit()
      }
      await log.sealed()
      for (const [value, count] of [
        [2, 20],
        [999, 1],
        [1_000, 0],
      ] as const) {
        const seen = []
        for await (const { position } of log.tagged(many, 'labels', value)) seen.push(position)
        expect(seen).toHaveLength(count)
      }
      await log.close()
    }
  })

  it('begin at any position of a long segment, where a value is that of most events', async () => {
    const disk = new SimulatedDisk()
    const log = await open(disk, true, 30_000)
    const often = await log.topic(
      compileContract('often', 'topic', z.object({ id: z.int(), yes: z.boolean() }), 'id', [], ['yes']),
    )
    for (let from = 0; from < 6_000; from += 1_000) {
      const batch = log.batch()
      for (let id = from; id < from + 1_000; id++) batch.event(often, { id, yes: id % 10 > 0 })
      await batch.commit()
    }
    await log.sealed()
    expect(disk.paths.filter(path => path.endsWith('.sealed'))).toHaveLength(1)
    const ids = Array.from({ length: 6_000 }, (_, id) => id).filter(id => id % 10 > 0)
    for (const from of [1, 2, 500, 569, 571, 3_333, 4_999, 5_990]) {
      for (const backwards of [false, true]) {
        const seen: unknown[] = []
        for await (const { event } of log.tagged(often, 'yes', true, { from, backwards, limit: 700 }))
          seen.push(event['id'])
        const asked = ids.filter(id => (backwards ? id < from : id >= from - 1))
        expect(seen).toEqual((backwards ? asked.reverse() : asked).slice(0, 700))
      }
    }
    await log.close()
  })

  it('survive sealing under whoever reads them', async () => {
    const random = new Random(2)
    const disk = new SimulatedDisk()
    const pair = { log: await open(disk, false), model: new MemoryLog() }
    await declare(pair, TAGS)
    await fill(pair, random, 40)
    await pair.log.close()
    const log = await open(disk, true)
    const expected = await found(pair.model, 'paid', true, {})
    const seen = []
    for await (const { position, topic: of, event } of log.tagged(log.findTopic('orders')!, 'paid', true)) {
      seen.push({ position, topic: of.name, event })
      if (seen.length === 5) await log.sealed()
    }
    expect(seen).toEqual(expected)
    await log.close()
  })
})

describe('a tag', () => {
  it('is refused where its field cannot be one, by name, and so is a value of another type', async () => {
    const value = z.object({
      id: z.int(),
      at: z.date(),
      ratio: z.number(),
      deep: z.object({ a: z.int() }),
      who: z.string(),
    })
    const declared = (tags: readonly string[]) => topic('t', { key: 'id', value, tags: tags as 'who'[] })
    expect(declared(['who', 'id']).tags).toEqual(['who', 'id'])
    for (const field of ['at', 'ratio', 'deep', 'nothing'])
      expect(() => declared([field])).toThrow(
        expect.objectContaining({ code: 'DEFINITION_INVALID', message: expect.stringContaining(`'${field}'`) }),
      )
    expect(() => declared(['who', 'who'])).toThrow(expect.objectContaining({ code: 'DEFINITION_INVALID' }))
    // @ts-expect-error a date is no tag
    expect(() => topic('t', { key: 'id', value, tags: ['at'] })).toThrow()
    const log = await open(new SimulatedDisk(), false)
    const orders = await log.topic(ordersOf(TAGS))
    const first = (field: string, sought: TagValue) => log.tagged(orders, field, sought)[Symbol.asyncIterator]().next()
    await expect(first('customer', 5)).rejects.toMatchObject({ code: 'KEY_INVALID' })
    await expect(first('amount', 0.5)).rejects.toMatchObject({ code: 'KEY_INVALID' })
    await expect(first('big', 5)).rejects.toMatchObject({ code: 'KEY_INVALID' })
    await expect(first('note', 'n')).rejects.toMatchObject({ code: 'TAG_UNKNOWN' })
    await log.close()
  })
})
