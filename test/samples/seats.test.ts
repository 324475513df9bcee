// The sample of a decider, as an application that runs: over HTTP, by the client, and in its own process.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openApplication, type Running } from '../../index.ts'
import { createClient } from '../../query-api/client/index.ts'
import app, { seats } from '../../samples/seats/app.ts'
import { mainstem } from '../support/mainstem-process.ts'

let folder: string
let running: Running<typeof app>

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mainstem-seats-'))
  running = await openApplication(app, { dataDir: folder, listen: { port: 0 } })
})
afterAll(async () => {
  await running.close()
  await rm(folder, { recursive: true })
})

const post = async (id: string, body: object, headers: Record<string, string> = {}) => {
  const response = await fetch(`${running.url}/v1/commands/seats/${id}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers,
  })
  const json = (await response.json()) as Record<string, unknown>
  return { status: response.status, etag: response.headers.get('etag'), body: json }
}

describe('the seats sample', () => {
  it('answers a command with its events, the version, and a token that views are read after', async () => {
    const held = await post('hamlet,A1', { type: 'hold', holder: 'ada' }, { 'idempotency-key': 'r-1' })
    expect(held).toMatchObject({
      status: 200,
      etag: '"1"',
      body: { events: [{ type: 'SeatHeld', holder: 'ada' }], version: 1 },
    })
    expect(await post('hamlet,A1', { type: 'hold', holder: 'ada' }, { 'idempotency-key': 'r-1' })).toEqual(held)
    expect(await post('hamlet,A1', { type: 'hold', holder: 'bob' })).toMatchObject({
      status: 422,
      body: { code: 'COMMAND_REFUSED', refused: 'seat-taken', title: 'the seat is held or booked by someone else' },
    })
    const booked = await post('hamlet,A1', { type: 'book', holder: 'ada', price_cents: 5000 }, { 'if-match': '"1"' })
    expect(booked.body).toMatchObject({
      events: [{ type: 'SeatBooked', holder: 'ada', price_cents: 5000 }],
      version: 2,
    })
    const shows = await fetch(`${running.url}/v1/views/shows/rows/hamlet?after=${booked.body['token']}`)
    expect(await shows.json()).toMatchObject({ value: { booked: 1, revenue_cents: 5000 } })
  })

  it('lets a client read what its own commands came to', async () => {
    const client = createClient<typeof app>(running.url!)
    const key = { show: 'macbeth', seat: 'B,2' }
    const held = await client.commands.seats.hold(key, { holder: 'ada' }, { idempotencyKey: 'r-1' })
    expect(held).toMatchObject({ ok: true, events: [{ type: 'SeatHeld', holder: 'ada' }], version: 1 })
    expect((await client.views.seats.get(key)).value).toEqual({ status: 'held', holder: 'ada' })
    expect(await client.commands.seats.hold(key, { holder: 'bob' })).toEqual({
      ok: false,
      refused: 'seat-taken',
      message: 'the seat is held or booked by someone else',
    })
    const released = await client.commands.seats.release(key, {}, { expectedVersion: 1 })
    expect(released).toMatchObject({ ok: true, events: [{ type: 'SeatReleased' }], version: 2 })
    expect(await client.commands.seats.release(key, {})).toMatchObject({ ok: true, events: [], version: 2 })
  })

  it('does the same in its own process', async () => {
    const { commands, views } = running.client
    const key = { show: 'lear', seat: 'C3' }
    const held = await commands.seats.hold(key, { holder: 'cleo' })
    expect(held).toMatchObject({ ok: true, events: [{ type: 'SeatHeld', holder: 'cleo' }], version: 1 })
    expect((await views.seats.get(key)).value).toEqual({ status: 'held', holder: 'cleo' })
    expect(await commands.seats.book(key, { holder: 'bob', price_cents: 1 })).toMatchObject({ refused: 'seat-taken' })
    expect((await commands.seats.book(key, { holder: 'cleo', price_cents: 700 })).ok).toBe(true)
    expect((await views.shows.get('lear')).value).toEqual({ booked: 1, revenue_cents: 700 })
  })

  it('takes commands on the command line', async () => {
    const command = (json: string, ...more: readonly string[]) =>
      mainstem(['command', 'seats', 'othello,D%2C4', json, '--url', running.url!, ...more])
    const hold = '{"type":"hold","holder":"ada"}'
    const held = await command(hold, '--expect', '0', '--idempotency-key', 'cli')
    expect([held.code, JSON.parse(held.stdout)]).toEqual([
      0,
      { events: [{ type: 'SeatHeld', holder: 'ada' }], version: 1, token: expect.stringMatching(/^m1\./) },
    ])
    expect((await command(hold, '--expect', '0', '--idempotency-key', 'cli')).stdout).toBe(held.stdout)
    const refused = await command(hold)
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('COMMAND_REFUSED the seat is held')])
    expect((await command(hold, '--expect', '7')).stderr).toContain('it is at version 1, the command expects 7')
    expect((await command('{')).stderr).toContain('the command is not JSON')
    expect((await mainstem(['command', '--help'])).stdout).toContain('mainstem command seats hamlet,A1')
  })

  it('has its events read back as streams', async () => {
    const key = { show: 'streams', seat: 'E5' }
    await running.client.commands.seats.hold(key, { holder: 'eve' })
    await running.client.commands.seats.release(key, {})
    const types: string[] = []
    for await (const { version, event } of running.stream(seats, key))
      types.push(`${version} ${event.type} ${event.show}`)
    expect(types).toEqual(['1 SeatHeld streams', '2 SeatReleased streams'])
    expect(await running.lastVersion(seats, key)).toBe(2)
  })

  it('is read as a view, and its events as a topic that takes no appends', async () => {
    const rows = await fetch(`${running.url}/v1/views/seats/rows?prefix=macbeth,`)
    expect(await rows.json()).toMatchObject({ rows: [{ key: { show: 'macbeth', seat: 'B,2' } }] })
    const log = (await (await fetch(`${running.url}/v1/log/seats?limit=1`)).json()) as { records: object[] }
    expect(log.records[0]).toMatchObject({
      key: { show: 'hamlet', seat: 'A1' },
      value: { type: 'SeatHeld', show: 'hamlet', seat: 'A1', holder: 'ada' },
    })
    const appended = await fetch(`${running.url}/v1/topics/seats`, { method: 'POST', body: '{}' })
    expect(await appended.json()).toMatchObject({ code: 'TOPIC_READ_ONLY', detail: 'its events come from commands' })
  })
})
