// Commands of an open application: what is decided, refused, and never appended.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { application, decider, openApplication, projection, type Running } from '../../index.ts'

const spec = {
  key: z.string().min(1),
  state: z.object({ n: z.int(), at: z.date().nullable(), ids: z.map(z.string(), z.bigint()) }),
  events: {
    Added: z.object({ n: z.int().default(1), at: z.date(), id: z.bigint() }),
    Broken: z.object({}),
    Checked: z.object({ n: z.int().max(5) }),
  },
  commands: {
    add: z.object({ n: z.int().positive().default(1), id: z.bigint().default(7n) }),
    nothing: z.object({}),
    several: z.object({ times: z.int() }),
    fail: z.object({ how: z.string() }),
  },
  refusals: { full: 'a counter goes up to 100' },
}
const counters = decider('counters', spec)
  .evolve({
    Added: (counter, event) => {
      counter.n += event.n
      counter.at = event.at
      counter.ids.set(event.type, event.id)
    },
    Broken: () => {
      throw new Error('a secret of evolve')
    },
    Checked: () => {},
  })
  .decide({
    add: (counter, { n, id }, { nowMs, refuse }) =>
      counter.n + n > 100 ? refuse('full') : { type: 'Added', n, id, at: new Date(nowMs) },
    nothing: () => [],
    several: (_, { times }, { nowMs }) =>
      Array.from({ length: times }, (_, n) => ({ type: 'Added' as const, n, id: 1n, at: new Date(nowMs) })),
    fail: (counter, { how }, { refuse }) => {
      switch (how) {
        case 'throw':
          throw new Error('a secret of decide')
        case 'clock':
          return [{ type: 'Added', id: 1n, at: new Date() }]
        case 'write':
          ;(counter as { n: number }).n = 50
          return []
        case 'write a map':
          ;(counter.ids as Map<string, bigint>).set('x', 1n)
          return []
        case 'promise':
          return Promise.resolve([]) as never
        case 'unknown refusal':
          return refuse('nope' as never)
        case 'evolve':
          return { type: 'Broken' }
        case 'contract':
          return [
            { type: 'Checked', n: 5 },
            { type: 'Checked', n: 6 },
          ]
        case 'unknown event':
          return { type: 'Gone' } as never
        case 'many':
          return Array.from({ length: 10_001 }, () => ({ type: 'Checked' as const, n: 1 }))
        default:
          return undefined as never
      }
    },
  })
const sums = projection('sums', { key: z.string(), state: z.object({ n: z.int() }) }).on(counters, 'key', {
  Added: (sum, event) => {
    sum.n += event.n
  },
})
const app = application('counting', { deciders: [counters], views: [sums] })

let dataDir: string
let running: Running<typeof app>
const open = async () => {
  running = await openApplication(app, { dataDir })
}
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mainstem-commands-'))
  await open()
})
afterEach(async () => {
  await running.close()
  await rm(dataDir, { recursive: true, force: true })
})
const restart = async () => {
  await running.close()
  await open()
}

describe('commands', () => {
  it('append what they come to as one unit, in the order in which they were sent to a stream', async () => {
    const { commands, views } = running.client
    const all = await Promise.all(Array.from({ length: 40 }, (_, n) => commands.counters.add(`c${n % 3}`, { n: 1 })))
    expect(all.map(each => each.ok && each.version)).toEqual(
      Array.from({ length: 40 }, (_, n) => 1 + Math.floor(n / 3)),
    )
    expect((await views.counters.get('c0')).value).toMatchObject({ n: 14, ids: new Map([['Added', 7n]]) })
    const several = await commands.counters.several('d', { times: 3 })
    expect(several).toMatchObject({ ok: true, version: 3 })
    expect(several.ok && several.events.map(event => event.type === 'Added' && event.n)).toEqual([0, 1, 2])
    expect((await views.sums.get('d')).value).toEqual({ n: 3 })
  })

  it('win once where several expect one version', async () => {
    const { commands } = running.client
    for (let version = 0; version < 3; version++) {
      const all = await Promise.allSettled(
        Array.from({ length: 20 }, () => commands.counters.add('a', {}, { expectedVersion: version })),
      )
      expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const each of all)
        if (each.status === 'rejected')
          expect(each.reason).toMatchObject({
            code: 'VERSION_CONFLICT',
            data: { version: version + 1, expected: version },
          })
    }
    expect(await commands.counters.nothing('a', {}, { expectedVersion: 3 })).toMatchObject({ events: [], version: 3 })
    await expect(commands.counters.nothing('a', {}, { expectedVersion: 9 })).rejects.toMatchObject({
      code: 'VERSION_CONFLICT',
    })
  })

  it('refuse without an effect', async () => {
    const { commands } = running.client
    await commands.counters.add('a', { n: 100 })
    const { end } = running.log
    expect(await commands.counters.add('a', {})).toEqual({
      ok: false,
      refused: 'full',
      message: 'a counter goes up to 100',
    })
    expect(running.log.end).toBe(end)
  })

  it.each([
    ['throw', 'COMMAND_FAILED', 'counters.decide.fail threw'],
    ['clock', 'HANDLER_IMPURE', 'new Date() called in counters.decide.fail'],
    ['write', 'COMMAND_FAILED', 'counters.decide.fail threw'],
    ['promise', 'HANDLER_ASYNC', 'counters.decide.fail returned a promise'],
    ['unknown refusal', 'COMMAND_FAILED', 'counters.decide.fail gave a refusal that counters does not declare'],
    ['nothing at all', 'COMMAND_FAILED', 'counters.decide.fail gave no event, no list of events and no refusal'],
    ['evolve', 'HANDLER_FAILED', 'a handler threw'],
    ['contract', 'COMMAND_FAILED', 'counters decided an event that is not of its contract'],
    ['unknown event', 'COMMAND_FAILED', 'counters decided an event that is not of its contract'],
    ['many', 'COMMAND_FAILED', 'counters.decide.fail gave more than 10000 events'],
  ])('that fail (%s) have no effect, and their stream goes on', async (how, code, message) => {
    const { commands, views } = running.client
    await commands.counters.add('a', {})
    const { end } = running.log
    await expect(commands.counters.fail('a', { how })).rejects.toMatchObject({ code, message })
    expect(running.log.end).toBe(end)
    expect(await commands.counters.add('a', {})).toMatchObject({ ok: true, version: 2 })
    expect((await views.counters.get('a')).value?.n).toBe(2)
  })

  it('cannot change the state on which the next one is decided', async () => {
    const { commands, views } = running.client
    await commands.counters.add('a', {})
    expect((await commands.counters.fail('a', { how: 'write a map' })).ok).toBe(true)
    await commands.counters.add('a', {})
    expect((await views.counters.get('a')).value?.ids).toEqual(new Map([['Added', 7n]]))
  })

  it('are refused before anything is done where they are not of their schema', async () => {
    const { counters: send } = running.client.commands
    const { end } = running.log
    await expect(send.add('a', { n: 0 })).rejects.toMatchObject({
      code: 'COMMAND_INVALID',
      message: 'a command add of counters is not of its schema',
      detail: expect.stringContaining('n: too small'),
    })
    await expect(send.add('', { n: 1 })).rejects.toMatchObject({ code: 'KEY_INVALID' })
    await expect(send.add(5 as never, { n: 1 })).rejects.toMatchObject({ code: 'KEY_INVALID' })
    expect(running.log.end).toBe(end)
  })

  it('under a key are decided once, and answered again as they were, over a restart too', async () => {
    const send = () => {
      const { counters } = running.client.commands
      return Promise.all([
        counters.several('a', { times: 2 }, { idempotencyKey: 'events' }),
        counters.add('full', { n: 101 }, { idempotencyKey: 'refused' }),
        counters.nothing('b', {}, { idempotencyKey: 'none' }),
      ])
    }
    const first = await send()
    const { end } = running.log
    expect(await send()).toEqual(first)
    await running.client.commands.counters.add('a', {})
    await running.client.commands.counters.add('full', { n: 1 })
    await restart()
    expect(await send()).toEqual(first)
    expect(running.log.end).toBe(end + 2)
    const { counters } = running.client.commands
    await expect(counters.add('a', {}, { idempotencyKey: 'events' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    })
    await expect(
      counters.several('a', { times: 2 }, { idempotencyKey: 'events', expectedVersion: 0 }),
    ).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
    expect(await counters.several('other', { times: 2 }, { idempotencyKey: 'events' })).toMatchObject({ version: 2 })
    const many = await Promise.all(
      Array.from({ length: 20 }, () => counters.add('c', {}, { idempotencyKey: 'at once', expectedVersion: 0 })),
    )
    for (const each of many) expect(each).toEqual(many[0])
  })

  it('go on after a restart where they were', async () => {
    await running.client.commands.counters.several('a', { times: 5 })
    await restart()
    const added = await running.client.commands.counters.add('a', { n: 100 })
    expect(added).toMatchObject({ ok: false, refused: 'full' })
    expect(await running.client.commands.counters.add('a', {})).toMatchObject({ version: 6 })
    expect((await running.client.views.counters.get('a')).value?.n).toBe(11)
  })
})
