// `mainstem log trim` and `compact`, through an application and in a folder.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import { openWorld, type World } from '../../query-api/support.ts'
import { mainstem } from '../../support/mainstem-process.ts'

const clicks = compileContract('clicks', 'topic', z.object({ user: z.string(), n: z.int() }), 'user')
const orders = compileContract('shop.orders', 'table', z.object({ id: z.int(), total: z.int() }), 'id')
const T0 = Date.parse('2026-03-01T12:00:00Z')

let root: string
let world: World
let url: readonly string[]
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'mainstem-clean-'))
  world = await openWorld()
  url = ['--url', world.url]
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await rm(root, { recursive: true, force: true })
})

async function filled(name: string): Promise<string> {
  let now = T0 - 1_000
  const path = join(root, name, 'log')
  const log: EmbeddedLog = await openEmbeddedLog({ path, segmentBytesMax: 1_500, clock: () => (now += 1_000) })
  const [events, table] = [await log.topic(clicks), await log.topic(orders)]
  for (let n = 0; n < 60; n++) {
    const batch = log.batch()
    batch.event(events, { user: 'ada', n })
    if (n < 3) batch.insert(table, { id: n, total: n })
    else batch.update(table, { id: n % 3, total: n - 3 }, { id: n % 3, total: n })
    await batch.commit()
  }
  await log.sealed()
  await log.close()
  return join(root, name)
}

const run = (...args: readonly string[]) => mainstem(['log', ...args])
const json = (text: string): Record<string, unknown> => JSON.parse(text.trimEnd().split('\n').at(-1) ?? '')

test('trim takes the events before a time, and compact all but the newest rows; the rest is whole', async () => {
  const folder = await filled('stopped')
  const at = ['--data-dir', folder]
  const trimmed = await run('trim', 'clicks', '--before', '2026-03-01T12:00:10Z', ...at)
  expect(trimmed).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^ {2}10 of \d+ records up to position \d+ removed/),
  })
  const first = json((await run('tail', 'clicks', '--limit', '1', '--json', ...at)).stdout)
  expect(first).toMatchObject({
    records: [{ position: '21', value: { n: 10 }, appendTime: '2026-03-01T12:00:10.000Z' }],
  })
  const compacted = json((await run('compact', '--json', ...at)).stdout)
  expect(compacted['recordsAfter']).toBeLessThan(compacted['recordsBefore'] as number)
  expect(await run('verify', ...at)).toMatchObject({ code: 0, stdout: expect.stringContaining('no damage') })
  const { records } = json((await run('tail', 'shop.orders', '--json', ...at)).stdout) as { records: { op: string }[] }
  expect(records.slice(0, 4).map(({ op }) => op)).toEqual(['insert', 'insert', 'insert', 'update'])
})

test('what is not there or says nothing is refused', async () => {
  const folder = await filled('refused')
  expect((await run('trim', 'nothing', '--to', '9', '--data-dir', folder)).stderr).toContain('TOPIC_UNKNOWN')
  expect((await run('trim', 'nothing', '--to', '9', '--dry-run', '--data-dir', folder)).stderr).toContain(
    'TOPIC_UNKNOWN',
  )
  expect((await run('trim', 'clicks', '--data-dir', folder)).stderr).toContain('one of --to and --before')
})

test('an application cleans what is closed; what is not right is refused before', async () => {
  expect((await run('compact', ...url)).stdout).toMatch(/^ {2}nothing to remove up to position \d+\n/)
  expect((await run('compact', '--dry-run', ...url)).stdout).toMatch(/^ {2}nothing to remove up to position \d+\n/)
  expect((await run('trim', 'nothing', '--to', '1', ...url)).stderr).toContain('TOPIC_UNKNOWN')
  const post = async (body: unknown) => {
    const answer = await fetch(`${world.url}/v1/log/clean`, { method: 'POST', body: JSON.stringify(body) })
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  for (const body of [
    [],
    { trim: 1 },
    { trim: { purchases: -1 } },
    { to: 'soon' },
    { force: 1 },
    { dryRun: 'yes' },
    { other: 1 },
  ])
    expect(await post(body), JSON.stringify(body)).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } })
  expect(await post({ trim: { purchases: null }, to: null })).toMatchObject({ status: 200, body: { limitedBy: null } })
})
