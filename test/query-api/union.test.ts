// A topic whose contract is a union, over HTTP: what is appended, what the log's page gives, what OpenAPI says.
import type { AnySchemaObject } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { openWorld, purchases, spending, type World } from './support.ts'

const seat = z.object({ show: z.string(), seat: z.int() })
const bookings = topic('bookings', {
  key: ['show', 'seat'],
  value: z.discriminatedUnion('type', [
    seat.extend({ type: z.literal('Held'), until: z.date(), note: z.string().default('none') }),
    seat.extend({ type: z.literal('Booked'), cents: z.bigint() }),
    seat.extend({ type: z.literal("can't come"), why: z.string().optional() }),
  ]),
})
const shows = projection('shows', { key: z.string(), state: z.object({ cents: z.bigint() }) }).on(bookings, 'show', {
  Booked: (show, event) => {
    show.cents += event.cents
  },
})

let world: World
beforeAll(async () => {
  world = await openWorld(application('booking', { views: [shows, spending], topics: [purchases] }))
})
afterAll(() => world[Symbol.asyncDispose]())

const at = { show: 'hamlet', seat: 1 }
const held = { type: 'Held', ...at, until: '2026-11-01T09:00:00.000Z' }
const booked = { type: 'Booked', ...at, cents: '36893488147419103232' }
const absent = { type: "can't come", ...at }

test('records of any variant are appended, each with its types, and read back as they came', async () => {
  const { status, body } = await world.post('/v1/topics/bookings', [held, booked, absent])
  expect(status).toBe(200)
  const row = await world.get(`/v1/views/shows/rows/hamlet?after=${body['token']}`)
  expect(row.body['value']).toEqual({ cents: booked.cents })
  const page = await world.get('/v1/log/bookings')
  const key = at
  expect(page.body['records']).toMatchObject([
    { op: 'event', key, value: { ...held, note: 'none' } },
    { op: 'event', key, value: booked },
    { op: 'event', key, value: absent },
  ])
})

test.each([
  [{ ...held, type: 'Sold' }, `type: invalid discriminator value. Expected 'Held' | 'Booked' | 'can't come'`],
  [at, 'type: invalid discriminator value'],
  [{ ...held, type: 5 }, 'type: invalid discriminator value'],
  [{ ...booked, cents: 'many' }, 'cents: expected bigint'],
  [{ ...held, type: 'Booked' }, 'cents: expected bigint'],
  [{ ...held, until: 'no date' }, 'until: '],
  [[], ''],
  [null, 'expected object'],
  [5, 'expected object'],
])('%j is refused', async (record, detail) => {
  const { status, body } = await world.post('/v1/topics/bookings', Array.isArray(record) ? [record] : record)
  expect([status, body['code']]).toEqual([400, 'RECORD_REFUSED'])
  expect(body['detail']).toContain(detail)
})

test('OpenAPI says of the topic which variants there are, and how they are told apart', async () => {
  const { body: document } = await world.get('/openapi.json')
  const record = 'openapi#/paths/~1v1~1topics~1bookings/post/requestBody/content/application~1json/schema'
  const schema = (document['paths'] as never)['/v1/topics/bookings']['post']['requestBody']['content'][
    'application/json'
  ]['schema'] as Record<'anyOf', readonly object[]>
  const components = (document['components'] as { schemas: object }).schemas
  const refs = ['bookings.Held', 'bookings.Booked', 'bookings.can_27_t_20_come'].map(name => {
    expect(components).toHaveProperty([name])
    expect(name).toMatch(/^[a-zA-Z0-9._-]+$/)
    return `#/components/schemas/${name}`
  })
  expect(schema.anyOf[0]).toEqual({
    oneOf: refs.map($ref => ({ $ref })),
    discriminator: {
      propertyName: 'type',
      mapping: { Held: refs[0], Booked: refs[1], "can't come": refs[2] },
    },
  })
  const validate = new Ajv2020({ strict: false, validateFormats: false })
    .addSchema({ ...document, $id: 'openapi' } as AnySchemaObject)
    .compile({ $ref: encodeURI(record) })
  for (const right of [held, booked, absent, [held, booked]]) expect(validate(right), JSON.stringify(right)).toBe(true)
  for (const wrong of [{ ...held, type: 'Sold' }, at, { ...held, type: 'Booked' }, [at]])
    expect(validate(wrong), JSON.stringify(wrong)).toBe(false)
})
