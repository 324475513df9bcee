// Commands over HTTP: answers and problems, the document that describes them, who may send them, and the typed client.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AnySchemaObject } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { openApplication, type Running } from '../../bin/open-application.ts'
import { decider } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { createClient } from '../../query-api/client/index.ts'
import { createKey } from '../../query-api/index.ts'

const slots = decider('slots', {
  key: z.object({ day: z.iso.date(), room: z.string(), no: z.bigint() }),
  state: z.object({ taken: z.bigint(), until: z.date().nullable() }),
  events: {
    Taken: z.object({ by: z.bigint(), until: z.date(), notes: z.map(z.string(), z.date()) }),
    Freed: z.object({}),
  },
  commands: {
    take: z.object({ by: z.bigint(), until: z.date(), note: z.string().optional() }),
    free: z.object({}),
    fail: z.object({}),
  },
  refusals: { taken: 'somebody has it' },
})
  .evolve({
    Taken: (slot, event) => {
      slot.taken = event.by
      slot.until = event.until
    },
    Freed: slot => {
      slot.taken = 0n
      slot.until = null
    },
  })
  .decide({
    take: (slot, { by, until, note }, { refuse }) =>
      slot.taken !== 0n ? refuse('taken') : { type: 'Taken', by, until, notes: new Map([[note ?? 'none', until]]) },
    free: slot => (slot.taken === 0n ? [] : { type: 'Freed' }),
    fail: () => {
      throw new Error('a secret')
    },
  })
const plain = decider('plain', {
  key: z.string(),
  state: z.object({ n: z.int() }),
  events: { Counted: z.object({}) },
  commands: { count: z.object({}) },
})
  .evolve({
    Counted: row => {
      row.n++
    },
  })
  .decide({ count: () => ({ type: 'Counted' }) })
const rooms = projection('rooms', { key: z.string(), state: z.object({ taken: z.int() }) }).on(slots, 'room', {
  Taken: room => {
    room.taken++
  },
})
const app = application('slots-app', { deciders: [slots, plain], views: [rooms] })
const KEY = { day: '2026-11-30', room: 'a,b/c', no: 2n ** 60n }
const PATH = '/v1/commands/slots/2026-11-30,a%2Cb%2Fc,1152921504606846976'
const TAKE = { type: 'take', by: '9007199254740993', until: '2026-12-01T00:00:00.000Z' }

const logged: object[] = []
let folder: string
let running: Running<typeof app>
let guarded: Running<typeof app>
const keys: Record<string, string> = {}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-commands-http-'))
  const log = { error: (members: object) => void logged.push(members), warn: () => {}, debug: () => {} }
  running = await openApplication(app, { dataDir: join(folder, 'a'), listen: { port: 0, log } })
  const keysFile = join(folder, 'keys.json')
  for (const [name, scopes] of Object.entries({
    all: ['command:*'],
    slots: ['command:slots', 'view:slots'],
    one: ['command:slots.take'],
    none: ['view:slots', 'topic:*'],
  }))
    keys[name] = (await createKey(keysFile, { name, scopes })).key
  guarded = await openApplication(app, { dataDir: join(folder, 'b'), listen: { port: 0, access: { keysFile } } })
})
afterAll(async () => {
  await running.close()
  await guarded.close()
  await rm(folder, { recursive: true })
})

async function post(path: string, body: unknown, headers: Record<string, string> = {}, url = running.url) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const response = await fetch(`${url}${path}`, { method: 'POST', body: text, headers })
  const answer = (await response.json()) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body: answer }
}

describe('commands over HTTP', () => {
  it('take and give values as their schemas have them on the wire, and say the version as an ETag', async () => {
    const { status, headers, body } = await post(PATH, TAKE, { 'if-match': '"0"' })
    expect([status, headers.get('etag')]).toEqual([200, '"1"'])
    expect(body).toEqual({
      events: [{ type: 'Taken', by: TAKE.by, until: TAKE.until, notes: [['none', TAKE.until]] }],
      version: 1,
      token: `m1.${running.log.id}.log.1`,
    })
    expect(JSON.parse(headers.get('mainstem-types') ?? '')).toEqual({
      Taken: { by: 'int64', until: 'date-time', notes: 'map', 'notes[1]': 'date-time' },
    })
    const row = await fetch(
      `${running.url}${PATH.replace('commands/slots', 'views/slots/rows')}?after=${body['token']}`,
    )
    expect(await row.json()).toMatchObject({ value: { taken: TAKE.by, until: TAKE.until } })
    expect((await post('/v1/commands/plain/a%2Fb', { type: 'count' })).body).toMatchObject({ version: 1 })
  })

  it.each([
    [
      'a refusal',
      PATH,
      TAKE,
      {},
      422,
      { code: 'COMMAND_REFUSED', refused: 'taken', version: 1, title: 'somebody has it' },
    ],
    ['another version', PATH, TAKE, { 'if-match': '0' }, 409, { code: 'VERSION_CONFLICT', version: 1, expected: 0 }],
    ['no version', PATH, TAKE, { 'if-match': '*' }, 400, { code: 'REQUEST_INVALID' }],
    ['an unknown decider', '/v1/commands/slot/a', TAKE, {}, 404, { code: 'DECIDER_UNKNOWN' }],
    ['an unknown command', PATH, { type: 'steal' }, {}, 400, { code: 'COMMAND_INVALID' }],
    ['no command', PATH, [], {}, 400, { code: 'COMMAND_INVALID' }],
    ['a wrong field', PATH, { ...TAKE, until: 'soon' }, {}, 400, { code: 'COMMAND_INVALID' }],
    ['no JSON', PATH, '{', {}, 400, { code: 'REQUEST_INVALID' }],
    ['a key of too few parts', '/v1/commands/slots/a', TAKE, {}, 400, { code: 'KEY_MALFORMED' }],
    ['a key that its schema refuses', '/v1/commands/slots/2026-13-45,a,1', TAKE, {}, 400, { code: 'KEY_MALFORMED' }],
    ['a bad idempotency key', PATH, TAKE, { 'idempotency-key': '' }, 400, { code: 'REQUEST_INVALID' }],
    ['a page of another origin', PATH, TAKE, { origin: 'https://evil.test' }, 403, { code: 'ORIGIN_REFUSED' }],
    ['a parameter', `${PATH}?x=1`, TAKE, {}, 400, { code: 'REQUEST_INVALID' }],
  ] as const)('answer %s with a problem', async (_, path, body, headers, status, problem) => {
    const { end } = running.log
    expect(await post(path, body, headers)).toMatchObject({ status, body: problem })
    expect(running.log.end).toBe(end)
  })

  it('keep to themselves what decide threw, and tell the log of it', async () => {
    const { status, body } = await post(PATH, { type: 'fail' })
    expect([status, body['code'], JSON.stringify(body).includes('secret')]).toEqual([500, 'COMMAND_FAILED', false])
    const [entry] = logged as { err: Error; code: string }[]
    expect([entry!.code, (entry!.err.cause as Error).message]).toEqual(['COMMAND_FAILED', 'a secret'])
  })

  it('are answered again under a key, as they were', async () => {
    const headers = { 'idempotency-key': 'k' }
    const path = '/v1/commands/slots/2026-11-30,b,1'
    const first = await post(path, TAKE, headers)
    const again = await post(path, TAKE, headers)
    expect([again.body, again.headers.get('etag')]).toEqual([first.body, '"1"'])
    expect((await post(path, { type: 'free' }, headers)).body['code']).toBe('IDEMPOTENCY_KEY_REUSED')
  })

  it('are described, each with its fields, and so are their answers', async () => {
    const document = (await (await fetch(`${running.url}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, { requestBody: object; operationId: string }>>
    }
    expect(document.paths['/v1/commands/slots/{id}']?.['post']?.operationId).toBe('sendSlots')
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    ajv.addSchema({ ...document, $id: 'openapi' } as AnySchemaObject)
    const schema = (rest: string) =>
      ajv.compile({
        $ref: `openapi#/paths/~1v1~1commands~1slots~1%7Bid%7D/post/${rest}/content/application~1json/schema`,
      })
    const command = schema('requestBody')
    expect([TAKE, { type: 'free' }, { type: 'steal' }, { type: 'take' }, {}].map(each => command(each))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
    const answer = schema('responses/200')
    for (const body of [TAKE, { type: 'free' }, { type: 'free' }])
      expect(answer((await post('/v1/commands/slots/2026-11-30,c,1', body)).body)).toBe(true)
    expect(answer({ events: [{ type: 'Stolen' }], version: 1, token: 't' })).toBe(false)
    expect(await (await fetch(`${running.url}/v1/commands/slots`)).json()).toMatchObject({
      name: 'slots',
      key: [
        { name: 'day', type: 'string' },
        { name: 'room', type: 'string' },
        { name: 'no', type: 'bigint' },
      ],
      commands: { take: { type: 'object', required: ['by', 'until'] } },
      events: { Freed: { type: 'object' } },
      refusals: { taken: 'somebody has it' },
    })
  })

  it('need the scope of their decider, or of the one command', async () => {
    const path = '/v1/commands/slots/2026-11-30,a,1'
    const sending = async (who: string, body: object, at = path) => {
      const answer = await post(at, body, { authorization: `Bearer ${keys[who]}` }, guarded.url)
      return [answer.status, answer.body['scope'] ?? answer.body['code'] ?? null]
    }
    expect(await sending('none', TAKE)).toEqual([403, 'command:slots.take'])
    expect(await sending('none', {})).toEqual([403, 'command:slots'])
    expect(await sending('none', TAKE, '/v1/commands/secret/a')).toEqual([403, 'command:secret.take'])
    expect(await sending('one', TAKE)).toEqual([200, null])
    expect(await sending('one', { type: 'free' })).toEqual([403, 'command:slots.free'])
    expect(await sending('slots', { type: 'free' })).toEqual([200, null])
    expect(await sending('slots', { type: 'count' }, '/v1/commands/plain/a')).toEqual([403, 'command:plain.count'])
    expect(await sending('all', { type: 'count' }, '/v1/commands/plain/a')).toEqual([200, null])
    // Idempotency keys of one client are not those of another.
    const keyed = (who: string) =>
      post(path, TAKE, { authorization: `Bearer ${keys[who]}`, 'idempotency-key': 'k' }, guarded.url)
    expect([(await keyed('one')).status, (await keyed('slots')).status]).toEqual([200, 422])
    expect([(await keyed('one')).status, (await keyed('slots')).status]).toEqual([200, 422])
    // A client of the one command needs no other scope.
    const client = createClient<typeof app>(guarded.url!, { token: keys['one']! })
    const taken = await client.commands.slots.take(
      { day: '2026-11-30', room: 'z', no: 1n },
      { by: 1n, until: new Date(0) },
    )
    expect(taken).toMatchObject({ ok: true, version: 1 })
  })

  it('are counted by their route', async () => {
    const metrics = await (await fetch(`${running.url}/metrics`)).text()
    expect(metrics).toMatch(/route="\/v1\/commands\/:decider\/:id"[^\n]* [1-9]/)
  })
})

describe('the client', () => {
  it('gives events as decide made them, and reads what its commands came to', async () => {
    const client = createClient<typeof app>(running.url!)
    const key = { ...KEY, room: 'e' }
    const until = new Date('2026-12-24')
    const taken = await client.commands.slots.take(key, { by: 2n ** 55n, until, note: 'n' })
    expect(taken).toEqual({
      ok: true,
      events: [{ type: 'Taken', by: 2n ** 55n, until, notes: new Map([['n', until]]) }],
      version: 1,
      token: expect.stringMatching(/^m1\./),
    })
    expect((await client.views.rooms.get('e')).value).toEqual({ taken: 1 })
    expect((await client.views.slots.get(key)).value).toEqual({ taken: 2n ** 55n, until })
    expect(await client.commands.slots.take(key, { by: 1n, until })).toEqual({
      ok: false,
      refused: 'taken',
      message: 'somebody has it',
    })
    await expect(client.commands.slots.free(key, {}, { expectedVersion: 5 })).rejects.toMatchObject({
      code: 'VERSION_CONFLICT',
      data: { version: 1 },
    })
    await expect(client.commands.plain.count('..', {})).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    // In the process itself it is the same.
    const local = await running.client.commands.slots.free(key, {}, { expectedVersion: 1 })
    expect(local).toMatchObject({ ok: true, events: [{ type: 'Freed' }], version: 2 })
  })

  it('tries a command again under its key, and it is decided once', async () => {
    let lost = 0
    const client = createClient<typeof app>(running.url!, {
      fetch: async (url, init) => {
        const response = await fetch(url, init)
        if (lost++ < 2) throw new TypeError('fetch failed')
        return response
      },
    })
    expect(await client.commands.plain.count('lost', {}, { idempotencyKey: 'k' })).toMatchObject({ version: 1 })
    expect([lost, await running.log.lastVersion(running.log.findTopic('plain')!, 'lost')]).toEqual([3, 1])
    lost = 0
    await expect(client.commands.plain.count('lost', {})).rejects.toMatchObject({ code: 'APPLICATION_UNREACHABLE' })
    expect(lost).toBe(1)
  })
})
