// An application whose views are folded in threads of their own: the same answers, from tokens on.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openApplication } from '../../bin/open-application.ts'
import { shardsFor } from '../../bin/open-engine.ts'
import { nativeModule } from '../support/native-module.ts'

const { default: app, moves } = nativeModule<typeof import('../support/shards-app.ts')>('./shards-app.ts')
const move = (from: string, to: string, cents: number, on = 'monday') => ({ id: 1, from, to, cents, on })

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mainstem-shards-'))
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

describe('an application with shards in threads', { timeout: 60_000 }, () => {
  it('answers after a token, over several views and keys at one position, and the same after a restart', async () => {
    const read = async (append: boolean) => {
      await using running = await openApplication(app, { dataDir, shards: 2 })
      const rows = [move('ada', 'bob', 5), move('bob', 'cem', 3), move('cem', 'dan', 1, 'tuesday')]
      const token = append ? await running.append(moves, rows) : undefined
      const { accounts, days } = running.client.views
      const after = token === undefined ? { after: `m1.${running.log.id}.log.${running.log.end}` } : { after: token }
      const names = ['ada', 'bob', 'cem', 'dan', 'nobody']
      const found = await accounts.lookup(names, after)
      return { found, monday: await days.get('monday', after), tuesday: await days.get('tuesday', after) }
    }
    const first = await read(true)
    expect(JSON.stringify(first.found)).toContain('-5')
    expect(first.monday.value).toEqual({ accounts: 2, cents: -3 })
    expect(first.tuesday.value).toEqual({ accounts: 2, cents: 3 })
    const again = await read(false)
    expect([again.monday.value, again.tuesday.value]).toEqual([first.monday.value, first.tuesday.value])
  })

  it('takes one shard less than there are cores, where it is asked to, and none beside the main thread on two', async () => {
    expect([1, 2, 3, 8, 1_000].map(shardsFor)).toEqual([undefined, undefined, 2, 7, 128])
    await using running = await openApplication(app, { dataDir, shards: 'auto' })
    expect([...running.engine.views.values()].every(view => view.status().error === null)).toBe(true)
  })

  it('says what is wrong with a number of shards, and with a file that opens what it declares', async () => {
    for (const shards of [0, 1.5, 129])
      await expect(openApplication(app, { dataDir, shards })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    const file = join(dataDir, 'opens.ts')
    const index = pathToFileURL(join(import.meta.dirname, '../../index.ts'))
    await writeFile(
      file,
      `import { openApplication } from '${index}'
       import app from '${pathToFileURL(join(import.meta.dirname, '../support/shards-app.ts'))}'
       await openApplication(app, { shards: 2 })
       export default app`,
    )
    await expect(openApplication({ ...app, file }, { dataDir, shards: 2 })).rejects.toMatchObject({
      code: 'APPLICATION_INVALID',
      detail: expect.stringContaining('in the thread of a shard'),
    })
  })
})
