import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorld, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

test('a source is told what to read, to pause, to go on and to give up', async () => {
  const { name } = world.source
  const path = `/v1/sources/${name}/snapshot`
  const answer = { status: 200, body: { source: name, snapshot: null } }
  expect(await world.post(path, {})).toMatchObject(answer)
  expect(await world.post(path, { tables: ['orders'], where: 'id > 7' })).toMatchObject(answer)
  for (const what of ['pause', 'resume', 'cancel'])
    expect(await world.post(`${path}/${what}`, {})).toMatchObject(answer)
  expect(world.source.snapshotCommands).toEqual([
    { do: 'start' },
    { do: 'start', tables: ['orders'], where: 'id > 7' },
    { do: 'pause' },
    { do: 'resume' },
    { do: 'cancel' },
  ])
})

test.each([{ tables: 'orders' }, { tables: [1] }, { where: 1 }, { table: 'orders' }, [['orders']], 'orders'])(
  '%j does not say what to read',
  async body => {
    const before = world.source.snapshotCommands.length
    expect(await world.post(`/v1/sources/${world.source.name}/snapshot`, body)).toMatchObject({
      status: 400,
      body: { code: 'REQUEST_INVALID' },
    })
    expect(world.source.snapshotCommands.length).toBe(before)
  },
)

test('a source that is not there has no snapshots', async () => {
  expect(await world.post('/v1/sources/nobody/snapshot/pause', {})).toMatchObject({
    status: 404,
    body: { code: 'SOURCE_UNKNOWN' },
  })
})
