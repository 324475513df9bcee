// All rows of a range as lines: at one cut, while they change, over shards in threads too.
import { afterEach, expect, it } from 'vitest'
import { nativeModule } from '../support/native-module.ts'
import { Random } from '../support/random.ts'
import { openWorld, type World } from './support.ts'

const { default: app } = nativeModule<typeof import('../support/theatre-app.ts')>('./theatre-app.ts')
const ROWS = 2_500

let world: World
afterEach(() => world[Symbol.asyncDispose]())

const anyMove = (random: Random, seat = random.int(ROWS)) => ({
  show: random.pick(['faust', 'hamlet']),
  seat,
  city: random.pick(['Bern', 'Ulm', null]),
  cents: random.int(100),
  note: 'x'.repeat(2_000),
  leaves: random.int(8) === 0,
})

async function lines(query: string, between?: () => Promise<unknown>): Promise<readonly string[]> {
  const response = await fetch(`${world.url}/v1/views/places/rows${query}`, {
    headers: { accept: 'application/x-ndjson' },
  })
  expect(response.headers.get('content-type')).toBe('application/x-ndjson; charset=utf-8')
  let text = ''
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    text += piece
    await between?.()
  }
  return text.trimEnd().split('\n')
}

it.each([0, 2])('are those that the past has at their position: %i threads', async threads => {
  world = await openWorld(app, { threads })
  const random = new Random(threads)
  for (let from = 0; from < ROWS; from += 500)
    await world.appends.append(
      'moves',
      Array.from({ length: 500 }, (_, n) => ({ ...anyMove(random, from + n), leaves: false })),
    )
  await world.engine.waitFor(ROWS, AbortSignal.timeout(30_000))
  for (const query of ['?', '?order=desc', '?where.city=Bern', '?where.city.null=true&order=desc', '?limit=900']) {
    let changes = 0
    const now = await lines(query, async () => {
      changes++
      await world.appends.append(
        'moves',
        Array.from({ length: 20 }, () => anyMove(random)),
      )
    })
    const { end, position, rows, final } = JSON.parse(now.at(-1)!)
    expect({ end, rows, final }).toEqual({ end: true, rows: now.length - 1, final: true })
    expect(changes).toBeGreaterThan(3)
    // It was read over many cuts.
    expect(world.log.end).toBeGreaterThan(Number(position) + 20)
    const then = await lines(`${query}&at=${position}`)
    expect(now.slice(0, -1)).toEqual(then.slice(0, -1))
  }
  expect(world.internalErrors).toEqual([])
})

it('that nobody takes to their end are let go', async () => {
  world = await openWorld(app, { threads: 2 })
  const random = new Random(5)
  for (let from = 0; from < ROWS; from += 500)
    await world.appends.append(
      'moves',
      Array.from({ length: 500 }, (_, n) => ({ ...anyMove(random, from + n), leaves: false })),
    )
  // More than may be read at a time.
  for (let n = 0; n < 20; n++) {
    const leave = new AbortController()
    const headers = { accept: 'application/x-ndjson' }
    const response = await fetch(`${world.url}/v1/views/places/rows`, { headers, signal: leave.signal })
    await response.body!.getReader().read()
    leave.abort()
  }
  expect((await lines('?')).length).toBeGreaterThan(1_000)
})
