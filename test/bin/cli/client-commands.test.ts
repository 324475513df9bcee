import { execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keySegment } from '../../../bin/cli/client-commands.ts'
import { byteSize, duration, formatTable, grouped } from '../../../bin/cli/table.ts'
import { openWorld, type World } from '../../query-api/support.ts'

const launcher = fileURLToPath(new URL('../../../bin/mainstem.mjs', import.meta.url))

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command line as a user does; never blocking, because the server runs in this process. */
function mainstem(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return new Promise(resolve => {
    execFile(process.execPath, [launcher, ...args], { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })
}

const lastJson = (text: string): unknown => JSON.parse(text.trimEnd().split('\n').at(-1) ?? '')

let world: World
let url: readonly string[]
beforeAll(async () => {
  world = await openWorld()
  url = ['--url', world.url]
  await world.appends.append('purchases', [
    { customer: 'ada', cents: 1250 },
    { customer: 'a,b/c', cents: 1 },
  ])
  await world.appends.append('seatings', [{ show: 'x,y', seat: 1, holder: null, at: new Date(0), id: 5n, note: 'n' }])
  const orders = world.log.findTopic('shop.orders')
  if (!orders) throw new Error('no topic')
  const batch = world.log.batch()
  batch.insert(orders, { id: 1, total: 10n })
  batch.update(orders, { id: 1, total: 10n }, { id: 2, total: null })
  const { last } = await batch.commit({ source: 'shop', position: '0/1A', transaction: '902' })
  await world.reads.wait({ after: [String(last)] })
  world.source.parkedRows = [
    {
      topic: 'shop.orders',
      key: '3',
      op: 'insert',
      position: '0/1B',
      logPosition: 9,
      error: 'id: expected number',
      raw: { id: 'x' },
    },
  ]
})
afterAll(() => world[Symbol.asyncDispose]())

describe.concurrent('the client commands', () => {
  test('views are a table of aligned columns', async () => {
    const { code, stdout } = await mainstem(['views', ...url])
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^ {2}spending {3}key string {9}2 rows {3}at 5 {3}lag 0 ms +live$/)
    expect(lines[2]).toMatch(/^ {2}seats {6}key string,int32 {3}1 rows/)
  })

  test('range prints rows in order, and how to go on', async () => {
    const first = await mainstem(['range', 'spending', '--limit', '1', '--order', 'desc', ...url])
    const [row, rest] = first.stdout.trimEnd().split('\n')
    expect(row).toBe('{"key":"ada","value":{"count":1,"cents":1250}}')
    const cursor = / {2}1 rows at \d+, more with --cursor (\S+)$/.exec(rest ?? '')?.[1] ?? ''
    const next = await mainstem(['range', 'spending', '--order', 'desc', '--cursor', cursor, '--json', ...url])
    expect(lastJson(next.stdout)).toMatchObject({ rows: [{ key: 'a,b/c' }], cursor: null, final: true })
    const seat = await mainstem(['range', 'seats', '--prefix', 'x%2Cy,', '--all', ...url])
    expect(seat.stdout).toMatch(/^{"key":{"show":"x,y","seat":1},.*}\n{"end":true,"rows":1,"position":"\d+",.*}\n$/)
  })

  test('range takes conditions that an index serves', async () => {
    const { stdout } = await mainstem(['range', 'rows', '--where', 'count>=1', '--where', 'count<9', '--json', ...url])
    expect(lastJson(stdout)).toMatchObject({ rows: [{ key: '5', value: { count: 1 } }] })
    const refused = await mainstem(['range', 'spending', '--where', 'cents=1', ...url])
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('NO_INDEX')
    const malformed = await mainstem(['range', 'spending', '--where', 'cents', ...url])
    expect(malformed.stderr).toContain('expected a condition such as city=Bern')
  })

  test('views as JSON are one object, and the URL may stand in the environment', async () => {
    const { stdout } = await mainstem(['views', '--json'], { MAINSTEM_URL: world.url })
    expect(lastJson(stdout)).toMatchObject({ views: [{ name: 'spending', rows: 2 }, {}, {}, {}, {}] })
  })

  test('get prints the row as the application answers it', async () => {
    const { code, stdout } = await mainstem(['get', 'spending', 'ada', ...url])
    expect([code, stdout]).toEqual([
      0,
      '{"key":"ada","value":{"count":1,"cents":1250},"position":"5","ageMs":0,"final":true}\n',
    ])
  })

  test('get takes odd and composite keys', async () => {
    expect((await mainstem(['get', 'spending', 'a,b/c', ...url])).stdout).toContain('"key":"a,b/c"')
    expect((await mainstem(['get', 'seats', 'x%2Cy,1', ...url])).stdout).toContain('"show":"x,y"')
  })

  test('get waits for tokens, and says what it waited for', async () => {
    const seen = await mainstem(['get', 'spending', 'ada', '--after', '1', '5', '--timeout', '1000', ...url])
    expect(seen.code).toBe(0)
    const { code, stderr, stdout } = await mainstem([
      'get',
      'spending',
      'ada',
      '--after',
      '99',
      '--timeout',
      '10',
      '--json',
      ...url,
    ])
    expect(code).toBe(1)
    expect(stderr).toContain('NOT_REACHED the views have not reached the write after 10 ms.')
    expect(stderr).toContain('waiting for position 99, it ends at 5')
    expect(stderr).toContain('→ ask again')
    expect(lastJson(stdout)).toMatchObject({ error: { code: 'NOT_REACHED', retriable: true } })
  })

  test('watch prints the rows there are and how far the view is, and goes on until it is ended', async () => {
    const watching = spawn(process.execPath, [launcher, 'watch', 'seats', 'x%2Cy,1', 'none,2', '--json', ...url])
    const lines: string[] = []
    for await (const line of createInterface({ input: watching.stdout })) {
      lines.push(line)
      if (lines.length === 2) break
    }
    expect(watching.exitCode).toBeNull()
    watching.kill()
    expect(lines.map(line => JSON.parse(line))).toMatchObject([
      { event: 'row', key: { show: 'x,y', seat: 1 }, value: { ids: '5' }, position: '5' },
      { event: 'progress', position: '5', final: true },
    ])
    expect((await mainstem(['watch', 'none', '1', ...url])).stderr).toContain('VIEW_UNKNOWN')
  })

  test('an absent row and an unknown view are exit code 1 with their codes', async () => {
    const absent = await mainstem(['get', 'spending', 'nobody', ...url])
    expect([absent.code, absent.stdout]).toEqual([1, ''])
    expect(absent.stderr).toContain('ROW_NOT_FOUND')
    expect((await mainstem(['get', 'nothing', '1', ...url])).stderr).toContain('VIEW_UNKNOWN')
  })

  test('log tail prints changes with their place in the source', async () => {
    const { code, stdout } = await mainstem(['log', 'tail', 'shop.orders', ...url])
    expect(code).toBe(0)
    expect(stdout).toBe(
      '  4   shop 0/1A   tx 902 #1   insert   {"id":1,"total":"10"}\n  5   shop 0/1A   tx 902 #2   update   {"id":1,"total":"10"} → {"id":2,"total":null}\n',
    )
    const json = await mainstem(['log', 'tail', 'purchases', '--from', '2', '--limit', '1', '--json', ...url])
    expect(lastJson(json.stdout)).toMatchObject({
      records: [{ position: '2', value: { customer: 'a,b/c' } }],
      next: '3',
    })
  })

  test('log tail --since finds the first record of a time, and log topics what there is', async () => {
    const { records } = lastJson((await mainstem(['log', 'tail', 'shop.orders', '--json', ...url])).stdout) as {
      records: { appendTime: string }[]
    }
    const since = async (time: string) =>
      lastJson((await mainstem(['log', 'tail', 'shop.orders', '--since', time, '--json', ...url])).stdout)
    expect(await since(records[0]!.appendTime)).toMatchObject({ records })
    expect(await since('2999-01-01')).toMatchObject({ records: [] })
    const topics = await mainstem(['log', 'topics', ...url])
    expect(topics.stdout).toMatch(/^ {2}purchases +topic {3}key customer$/m)
    expect(topics.stdout).toContain(`log ${world.log.id}: open, ends at `)
    expect((await mainstem(['log', 'tail', ...url])).stderr).toContain('REQUEST_INVALID no topic was given')
  })

  test('sources and parked rows are tables', async () => {
    expect((await mainstem(['sources', ...url])).stdout).toBe(
      '  shop   manual   streaming   at 0/0   behind 0 B   lag 3 ms   0 changes   1 parked   server keeps 1.0 kB   slot a_slot\n',
    )
    for (const args of [['parked'], ['parked', 'shop']]) {
      expect((await mainstem([...args, ...url])).stdout).toBe(
        '  shop.orders   key 3   insert   0/1B   id: expected number\n',
      )
    }
    expect(lastJson((await mainstem(['parked', '--json', ...url])).stdout)).toMatchObject({ parked: [{ key: '3' }] })
    expect((await mainstem(['parked', 'none', ...url])).stderr).toContain('SOURCE_UNKNOWN')
  })

  test('sources drop asks the application to drop a source', async () => {
    const { code, stdout } = await mainstem(['sources', 'drop', 'shop', '--json', ...url])
    expect([code, lastJson(stdout)]).toEqual([
      0,
      { source: 'shop', dropped: ['slot a_slot', 'publication a_publication'] },
    ])
    expect(world.source.dropped).toBe(true)
  })

  test('an application that does not answer is exit code 3, and says what to do', async () => {
    const { code, stderr } = await mainstem(['views', '--url', 'http://127.0.0.1:1'])
    expect(code).toBe(3)
    expect(stderr).toContain('APPLICATION_UNREACHABLE no application answers at http://127.0.0.1:1')
    expect(stderr).toContain('is `mainstem run` up?')
  })

  test.each([
    [[]],
    [['nonsense']],
    [['views', '--nonsense']],
    [['views', 'too', 'many']],
    [['get', 'spending']],
    [['get', 'spending', 'ada', '--timeout', 'soon']],
    [['log', 'tail', 'x', '--limit', '0']],
    [['log', 'tail', 'x', '--since', 'yesterday']],
    [['log', 'shop.orders']],
    [['log', 'verify']],
    [['views', '--url', 'not a url']],
    [['views', '--url', 'ftp://x']],
  ])('%j is wrong usage: exit code 2', async args => {
    const { code, stderr } = await mainstem(args)
    expect(code).toBe(2)
    expect(stderr).toMatch(/Usage|error:/)
  })

  test.each(['views', 'get', 'log', 'sources', 'parked'])('%s --help shows an example', async command => {
    const { code, stdout } = await mainstem([command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/Examples?:\n {2}mainstem /)
  })

  test('help and version are exit code 0', async () => {
    const help = await mainstem(['--help'])
    expect(help.code).toBe(0)
    for (const word of ['views', 'get', 'log', 'sources', 'parked', 'Exit codes']) expect(help.stdout).toContain(word)
    expect((await mainstem(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+/)
  })
})

test('log tail --follow goes on with what is appended, one record per line, until it is stopped', async () => {
  const child = spawn(process.execPath, [launcher, 'log', 'tail', 'breaking', '--follow', '--json', ...url])
  let lines = ''
  const first = new Promise<void>(resolve => {
    child.stdout.on('data', data => {
      lines += data
      if (lines.includes('\n')) resolve()
    })
  })
  await world.appends.append('breaking', [{ id: 7 }])
  await first
  expect(lastJson(lines)).toMatchObject({ topic: 'breaking', value: { id: 7 } })
  const ended = new Promise(resolve => child.on('exit', resolve))
  child.kill('SIGTERM')
  await ended
})

test('a key as typed keeps its commas and its percent escapes', () => {
  expect(keySegment('42')).toBe('42')
  expect(keySegment('a/b c')).toBe('a%2Fb%20c')
  expect(keySegment('x%2Cy,1')).toBe('x%2Cy,1')
  expect(keySegment('100%')).toBe('100%25')
  expect(keySegment('ä?#')).toBe('%C3%A4%3F%23')
})

test('numbers are written for people', () => {
  expect([grouped(1_010_233), grouped('999'), grouped('12345678901234567890')]).toEqual([
    '1,010,233',
    '999',
    '12,345,678,901,234,567,890',
  ])
  expect([duration(2), duration(1_500), duration(120_000), duration(7_200_000), duration(null)]).toEqual([
    '2 ms',
    '1.5 s',
    '2 min',
    '2.0 h',
    'unknown',
  ])
  expect([byteSize(0), byteSize(999), byteSize(1_500), byteSize(2.5e9)]).toEqual(['0 B', '999 B', '1.5 kB', '2.5 GB'])
})

test('columns that are empty in every row are left out', () => {
  const rows = [
    { a: 'x', b: '', n: '1' },
    { a: 'long', b: '', n: '10' },
  ]
  const columns = [
    { text: (r: (typeof rows)[0]) => r.a },
    { text: (r: (typeof rows)[0]) => r.b },
    { text: (r: (typeof rows)[0]) => r.n, align: 'right' as const },
  ]
  expect(formatTable(rows, columns)).toEqual(['  x       1', '  long   10'])
  expect(formatTable([], columns)).toEqual([])
})
