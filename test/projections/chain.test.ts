// Variants of a topic that take turns: folded in runs of each, they come to what they come to one after the other.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, openEmbeddedLog, topic } from '../../core/index.ts'
import { application, openEngine, partsOf, projection, type View } from '../../projections/index.ts'
import { Random } from '../support/random.ts'

const base = z.object({ id: z.int(), customer: z.int() })
const value = z.discriminatedUnion('type', [
  base.extend({ type: z.literal('placed'), cents: z.int() }),
  base.extend({ type: z.literal('paid'), how: z.string().nullable() }),
  base.extend({ type: z.literal('seen') }),
])
type Event = z.output<typeof value>
const events = topic('events', { key: 'id', value })
const other = topic('others', { key: 'id', value: base })
/** Depends on the order of a customer's events. */
const state = z.object({ trace: z.int(), text: z.string().default('') })
type State = z.output<typeof state>

const step = (s: State, event: { id: number }, text: string): void => {
  s.trace = (s.trace * 31 + event.id) % 1_000_003
  s.text = text
}
const one = projection('one', { key: z.int(), state })
  .on(events, 'customer', (s, event) => step(s, event, event.type === 'paid' ? `${event.how}` : event.type))
  .on(other, 'customer', (s, event) => step(s, event, 'other'))
const each = projection('each', { key: z.int(), state }).on(events, 'customer', {
  placed: (s, event) => step(s, event, `${event.cents}`),
  paid: (s, event) => step(s, event, `${event.how}`),
})
const views = [one, each] as unknown as readonly View[]

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-chain-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function eventOf(random: Random, id: number): Event | z.output<typeof base> {
  const customer = random.int(30)
  switch (random.int(4)) {
    case 0:
      return { type: 'placed', id, customer, cents: random.int(100) }
    case 1:
      return { type: 'paid', id, customer, how: random.next() < 0.3 ? null : random.pick(['card', 'bank', 'ü']) }
    case 2:
      return { type: 'seen', id, customer }
    default:
      return { id, customer }
  }
}

describe('variants and topics that take turns', () => {
  it.each([
    [1, false],
    [2, true],
  ])('are folded in the order of the log (seed %i, sealed: %s)', async (seed, seal) => {
    const random = new Random(seed)
    const log = await openEmbeddedLog({ path: join(folder, 'log'), seal, segmentBytesMax: 16 * 1024 })
    const stored = await log.topic(compileContract('events', 'topic', value, 'id'))
    const others = await log.topic(compileContract('others', 'topic', base, 'id'))
    const expected = { one: new Map<number, State>(), each: new Map<number, State>() }
    const fold = (rows: Map<number, State>, event: z.output<typeof base>, text: string) => {
      const row = rows.get(event.customer) ?? { trace: 0, text: '' }
      rows.set(event.customer, row)
      step(row, event, text)
    }
    for (let id = 0; id < 6_000; ) {
      const batch = log.batch()
      // More changes of variant than a chain takes.
      for (let end = id + 1 + random.int(1_200); id < end; id++) {
        const event = eventOf(random, id)
        if (!('type' in event)) {
          batch.event(others, event)
          fold(expected.one, event, 'other')
          continue
        }
        batch.event(stored, event)
        const text = event.type === 'paid' ? `${event.how}` : event.type
        fold(expected.one, event, text)
        if (event.type !== 'seen') fold(expected.each, event, event.type === 'placed' ? `${event.cents}` : text)
      }
      await batch.commit()
    }
    if (seal) await log.sealed()
    const parts = partsOf(application('test', { views }))
    const engine = await openEngine({ log, parts, path: join(folder, 'views'), fingerprint: 'f' })
    await engine.waitFor(log.end, AbortSignal.timeout(60_000))
    for (const [name, rows] of Object.entries(expected)) {
      expect(engine.views.get(name)!.status().error).toBeNull()
      expect(engine.views.get(name)!.status().rows).toBe(rows.size)
      for (const [key, row] of rows) expect(engine.views.get(name)!.get(key), `${name} ${key}`).toEqual(row)
    }
    await engine.stop()
    await log.close()
  })
})
