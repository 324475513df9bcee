import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../../query-api/support.ts'

const launcher = fileURLToPath(new URL('../../../bin/mainstem.mjs', import.meta.url))

function mainstem(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise(resolve => {
    execFile(process.execPath, [launcher, ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })
}

/** Of now: what operators do beside it is a record, too. */
const POSITION = expect.stringMatching(/^[4-9]$/)

let world: World
let url: readonly string[]
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-cli-past-'))
  world = await openWorld(undefined, { checkpointIntervalMs: 3_600_000 })
  url = ['--url', world.url]
  await world.appends.append('purchases', [{ customer: 'ada', cents: 1250 }])
  await world.appends.append('purchases', [{ customer: 'ada', cents: 0 }])
  await world.appends.append('purchases', [
    { customer: 'ada', cents: -250 },
    { customer: 'b "x"\ny', cents: 1 },
  ])
  await world.reads.wait({ after: ['4'] })
  await world.engine.savepoints.create('all')
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

describe.concurrent('commands about the past', () => {
  test('get --at prints the row of then', async () => {
    const { code, stdout } = await mainstem('get', 'spending', 'ada', '--at', '1', ...url)
    expect([code, stdout]).toEqual([
      0,
      '{"key":"ada","value":{"count":1,"cents":1250},"position":"1","ageMs":null,"final":true}\n',
    ])
    const ahead = await mainstem('get', 'spending', 'ada', '--at', '99', ...url)
    expect([ahead.code, ahead.stderr]).toEqual([1, expect.stringContaining('AT_AHEAD position 99 is beyond the log')])
  })

  test('lineage lists the records, the newest last', async () => {
    const { code, stdout } = await mainstem('lineage', 'spending', 'ada', ...url)
    expect([code, stdout]).toEqual([
      0,
      '  1   event purchases ada   count 1  cents 1250\n  2   event purchases ada   count 1 → 2\n  3   event purchases ada   count 2 → 3  cents 1250 → 1000\n',
    ])
  })

  test('lineage of a field, and a page of it', async () => {
    const { stdout } = await mainstem('lineage', 'spending', 'ada', '--field', 'cents', ...url)
    expect(stdout).toBe('  1   event purchases ada   – → 1250\n  3   event purchases ada   1250 → 1000\n')
    const page = await mainstem('lineage', 'spending', 'ada', '--limit', '1', ...url)
    expect(page.stdout).toContain('  … older ones with --before 3\n  3   event')
    const json = await mainstem('lineage', 'spending', 'ada', '--json', '--before', '2', ...url)
    expect(JSON.parse(json.stdout)).toMatchObject({ key: 'ada', steps: [{ position: '1' }], next: null })
    expect((await mainstem('lineage', 'spending', 'none', ...url)).stdout).toMatch(
      /^ {2}no record went to it up to position \d\n$/,
    )
  })

  test('export writes to standard output, and to a file in the format of its name', async () => {
    const { stdout } = await mainstem('export', 'spending', '--at', '2', ...url)
    expect(stdout).toBe('{"key":"ada","value":{"count":2,"cents":1250}}\n{"position":"2","rows":1,"final":true}\n')
    const csv = join(folder, 'spending.csv')
    const written = await mainstem('export', 'spending', '--out', csv, '--json', ...url)
    expect(JSON.parse(written.stdout)).toEqual({ file: csv, view: 'spending', position: POSITION, rows: 2 })
    expect(await readFile(csv, 'utf8')).toBe('key,count,cents\r\nada,3,1000\r\n"b ""x""\ny",1,1\r\n')
  })

  test('export compresses where the name says so, and replaces no file', async () => {
    const packed = join(folder, 'spending.ndjson.gz')
    expect((await mainstem('export', 'spending', '--out', packed, ...url)).stdout).toBe(
      `  2 rows of spending at 4 → ${packed}\n`,
    )
    expect(gunzipSync(await readFile(packed)).toString()).toMatch(/{"position":"\d","rows":2,"final":true}/)
    expect((await mainstem('export', 'spending', '--out', packed, ...url)).stderr).toContain('is there already')
  })

  test('an export that was cut short is an error, and leaves no file', async () => {
    const server = createServer((_, response) => {
      response.setHeader('mainstem-rows', '2').setHeader('mainstem-position', '4')
      response.end('{"key":"ada","value":{}}\n')
    }).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const out = join(folder, 'short.ndjson')
    const { code, stderr } = await mainstem('export', 'spending', '--out', out, '--url', `http://127.0.0.1:${port}`)
    server.close()
    expect([code, stderr]).toEqual([3, expect.stringContaining('the export was cut short')])
    expect((await readdir(folder)).filter(name => name.startsWith('short'))).toEqual([])
  })

  test('replay folds anew, tells what differs, and leaves what is equal', async () => {
    const { code, stdout } = await mainstem('replay', 'spending', '--from', '0', ...url)
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(
        /^ {2}\d records in \d+ m?s, folded beside the live views up to \d\n {2}spending: 0 of 2 rows differ\n {2}nothing to exchange\n$/,
      ),
    ])
    const json = await mainstem('replay', 'totals', '--dry-run', '--json', ...url)
    expect(JSON.parse(json.stdout)).toMatchObject({
      position: POSITION,
      switchedAt: null,
      views: [{ view: 'totals', equal: true }],
    })
    const from = await mainstem('replay', 'spending', '--from', '4', ...url)
    expect([from.code, from.stdout]).toEqual([
      0,
      expect.stringMatching(/^ {2}begun with the rows of savepoint all at 4\n {2}\d records? in /),
    ])
    const early = await mainstem('replay', 'spending', '--from', '2', ...url)
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('REPLAY_BASE_MISSING')])
    expect(early.stderr).toContain('4 (savepoint all)')
  })

  test.each([
    ['lineage', 'spending'],
    ['lineage', 'spending', 'ada', '--limit', '0'],
    ['export', 'spending', '--format', 'xml'],
    ['export'],
  ])('%s %s is wrong usage', async (...args) => {
    expect((await mainstem(...args)).code).toBe(2)
  })
})
