// The event store of an open application: what it answers, what it refuses, and that its types say so.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { application, openApplication, type Running, topic } from 'mainstem'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'

const Status = z.enum(['placed', 'paid'])
const orders = topic('orders', {
  key: ['shop', 'number'],
  value: z.discriminatedUnion('type', [
    z.object({
      type: z.literal('Placed'),
      shop: z.string(),
      number: z.int(),
      status: Status,
      labels: z.array(z.string()),
    }),
    z.object({ type: z.literal('Paid'), shop: z.string(), number: z.int(), status: Status.nullable(), at: z.date() }),
  ]),
  tags: ['status', 'labels', 'number'],
})
const notes = topic('notes', { key: 'id', value: z.object({ id: z.bigint(), text: z.string() }) })
const foreign = topic('foreign', { key: 'id', value: z.object({ id: z.int() }), tags: ['id'] })

let dataDir: string
let app: Running
const at = new Date(7)
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mainstem-event-store-'))
  app = await openApplication(application('app', { topics: [orders, notes] }), { dataDir })
  await app.append(orders, [
    { type: 'Placed', shop: 'a', number: 1, status: 'placed', labels: ['x', 'y'] },
    { type: 'Placed', shop: 'a', number: 2, status: 'placed', labels: ['y'] },
    { type: 'Paid', shop: 'a', number: 1, status: 'paid', at },
    { type: 'Paid', shop: 'b', number: 1, status: null, at },
  ])
  await app.append(notes, [{ id: 5n, text: 'five' }])
})
afterEach(async () => {
  await app.close()
  await rm(dataDir, { recursive: true, force: true })
})

async function listOf<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const each of iterable) list.push(each)
  return list
}

describe('the event store of an application', () => {
  it('reads a stream by its key, in the options it is asked for', async () => {
    const stream = await listOf(app.stream(orders, { shop: 'a', number: 1 }))
    expect(stream).toEqual([
      {
        version: 1,
        position: 1,
        event: { type: 'Placed', shop: 'a', number: 1, status: 'placed', labels: ['x', 'y'] },
      },
      { version: 2, position: 3, event: { type: 'Paid', shop: 'a', number: 1, status: 'paid', at } },
    ])
    const key = { shop: 'a', number: 1 }
    expect(await listOf(app.stream(orders, key, { backwards: true }))).toEqual(stream.toReversed())
    expect(await listOf(app.stream(orders, key, { from: 2 }))).toEqual(stream.slice(1))
    expect(await listOf(app.stream(orders, key, { limit: 1 }))).toEqual(stream.slice(0, 1))
    expect(await listOf(app.stream(orders, { shop: 'a', number: 9 }))).toEqual([])
    expect(await listOf(app.stream(notes, 5n))).toEqual([{ version: 1, position: 5, event: { id: 5n, text: 'five' } }])
  })

  it('counts a stream', async () => {
    expect(await app.lastVersion(orders, { shop: 'a', number: 1 })).toBe(2)
    expect(await app.lastVersion(orders, { shop: 'c', number: 1 })).toBe(0)
    expect(await app.lastVersion(notes, 5n)).toBe(1)
  })

  it('finds events by their tags', async () => {
    const positions = async (found: AsyncIterable<{ position: number }>) =>
      (await listOf(found)).map(({ position }) => position)
    expect(await positions(app.tagged(orders, 'status', 'placed'))).toEqual([1, 2])
    expect(await positions(app.tagged(orders, 'labels', 'y', { backwards: true, limit: 1 }))).toEqual([2])
    expect(await positions(app.tagged(orders, 'number', 1, { from: 2 }))).toEqual([3, 4])
    expect(await listOf(app.tagged(orders, 'status', 'paid'))).toEqual([
      { position: 3, event: { type: 'Paid', shop: 'a', number: 1, status: 'paid', at } },
    ])
  })

  it('refuses topics, keys and tags that are not there, before anything is read', async () => {
    const unknown = expect.objectContaining({ code: 'TOPIC_UNKNOWN', detail: 'it has orders, notes' })
    expect(() => app.stream(foreign, 1)).toThrow(unknown)
    expect(() => app.tagged(foreign, 'id', 1)).toThrow(unknown)
    await expect(app.lastVersion(foreign, 1)).rejects.toEqual(unknown)
    const invalid = expect.objectContaining({ code: 'KEY_INVALID' })
    // @ts-expect-error a part of the key is missing
    expect(() => app.stream(orders, { shop: 'a' })).toThrow(invalid)
    // @ts-expect-error the key is a bigint
    await expect(app.lastVersion(notes, 'five')).rejects.toEqual(invalid)
    // @ts-expect-error the topic has no such tag
    await expect(listOf(app.tagged(orders, 'shop', 'a'))).rejects.toMatchObject({ code: 'TAG_UNKNOWN' })
    // @ts-expect-error the tag is a number
    await expect(listOf(app.tagged(orders, 'number', 'one'))).rejects.toEqual(invalid)
  })
})
