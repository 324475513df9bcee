// `mainstem log trim` and `compact` in the folder of an application that does not run: what its views and mirrors need stays.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { application, openApplication, projection, topic } from 'mainstem'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { heldIn } from '../../../bin/cli/log/held.ts'
import { compileContract, type EmbeddedLog, LogFolder, openEmbeddedLog, openMirror } from '../../../core/index.ts'
import { mainstem } from '../../support/mainstem-process.ts'

const clicks = topic('clicks', { key: 'user', value: z.object({ user: z.string(), n: z.int() }) })
const state = z.object({ n: z.int() })
const perUser = projection('per_user', { key: z.string(), state }).on(clicks, 'user', s => void s.n++)
const orders = compileContract('shop.orders', 'table', z.object({ id: z.int(), total: z.int() }), 'id')

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mainstem-held-'))
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

/** Appends clicks and changes of one row, in small segments. */
async function append(count: number): Promise<void> {
  await using log = await openEmbeddedLog({ path: join(dataDir, 'log'), segmentBytesMax: 1_000, compression: 'none' })
  const [events, table] = [log.findTopic('clicks')!, await log.topic(orders)]
  for (let n = 0; n < count; n++) {
    const batch = log.batch()
    batch.event(events, { user: 'ada', n })
    batch.update(table, { id: 1, total: n }, { id: 1, total: n + 1 })
    await batch.commit()
  }
  await log.sealed()
}

async function logId(): Promise<string> {
  await using folder = await LogFolder.open(dataDir)
  return folder.identity.id
}

async function mirror(): Promise<number> {
  await using log: EmbeddedLog = await openEmbeddedLog({ path: join(dataDir, 'log') })
  const tables = [{ contract: orders, topic: await log.topic(orders) }]
  const opened = await openMirror({ path: join(dataDir, 'mirror/shop'), log, source: 'shop', tables })
  await opened.close()
  return log.end
}

async function view(): Promise<number> {
  await using app = await openApplication(application('app', { views: [perUser] }), { dataDir })
  await app.engine.waitFor(app.log.end, AbortSignal.timeout(10_000))
  await app.engine.checkpoint()
  return app.log.end
}

const run = async (...args: readonly string[]) => {
  const done = await mainstem(['log', ...args, '--data-dir', dataDir, '--json'])
  expect(done).toMatchObject({ code: 0 })
  return JSON.parse(done.stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>
}

test('views and mirrors that nobody has open hold back what comes after their checkpoints and commits; force passes over them', async () => {
  await view()
  await append(50)
  const mirrored = await mirror()
  await append(50)
  const checkpointed = await view()
  await append(50)
  const held = [
    { name: 'view per_user', position: checkpointed },
    { name: 'mirror shop', position: mirrored },
  ]
  expect(await heldIn(dataDir, await logId())).toEqual(held)
  expect(await heldIn(dataDir, 'another log')).toEqual([])

  const dry = await run('trim', 'clicks', '--to', '1000', '--dry-run')
  const at = { name: 'mirror shop', position: mirrored }
  expect(dry).toMatchObject({ dryRun: true, generation: 0, limitedBy: at })
  expect(Number(dry['to'])).toBeLessThanOrEqual(mirrored)
  expect(dry['recordsAfter']).toBeLessThan(dry['recordsBefore'] as number)
  expect(dry['bytesAfter']).toBeLessThan(dry['bytesBefore'] as number)

  const done = await run('trim', 'clicks', '--to', '1000')
  const { to, recordsBefore, recordsAfter } = dry
  expect(done).toMatchObject({ dryRun: false, generation: 1, limitedBy: at, to, recordsBefore, recordsAfter })
  // The mirror catches up from where it stands, and so does the view.
  expect(await mirror()).toBe(await view())
  const forced = await run('trim', 'clicks', '--to', '1000', '--force')
  expect(Number(forced['to'])).toBeGreaterThan(checkpointed)
  expect(forced).not.toHaveProperty('limitedBy')
})

test('a dry run in a folder needs no lock and says in words what would go', async () => {
  await view()
  await append(50)
  await using app = await openApplication(application('app', { views: [perUser] }), { dataDir })
  await app.engine.waitFor(app.log.end, AbortSignal.timeout(10_000))
  await app.engine.checkpoint()
  const dry = await mainstem(['log', 'compact', '--dry-run', '--data-dir', dataDir])
  expect(dry).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      /^ {2}would remove \d+ of \d+ records up to position \d+: [\d.]+ kB → about [\d.]+ kB\n/,
    ),
  })
  expect(app.log.base.generation).toBe(0)
})
