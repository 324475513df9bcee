// `mainstem fold`, as a process, and `foldFiles` in this one.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { application, count, foldFiles, projection, sum, topic } from 'mainstem'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { mainstem } from '../../support/mainstem-process.ts'

let folder = ''
const path = (name: string): string => join(folder, name)
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-fold-test-'))
  await writeFile(path('app.ts'), APP)
  await writeFile(path('a.ndjson'), '{"id":1,"who":"ada","cents":5}\n{"id":2,"who":"bob","cents":7}\n')
  await writeFile(path('b.ndjson'), '{"id":3,"who":"ada","cents":10}')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const APP = `
import { application, projection, sum, count, topic } from 'mainstem'
import { z } from 'zod'
const orders = topic('orders', { key: 'id', value: z.object({ id: z.int(), who: z.string(), cents: z.int() }) })
const people = projection('people', { key: z.string(), state: z.object({ n: z.int(), cents: z.int() }) })
  .on(orders, 'who', { n: count(), cents: sum('cents') })
export default application('fold', { views: [people] })
`
const orders = topic('orders', { key: 'id', value: z.object({ id: z.int(), who: z.string(), cents: z.int() }) })
const people = projection('people', { key: z.string(), state: z.object({ n: z.int(), cents: z.int() }) }).on(
  orders,
  'who',
  { n: count(), cents: sum('cents') },
)
const app = application('fold', { views: [people] })

const fold = (...args: readonly string[]) => mainstem(['fold', path('app.ts'), ...args])
const inputs = () => ['--input', `orders=${path('a.ndjson')}`, '--input', `orders=${path('b.ndjson')}`]

describe('mainstem fold', () => {
  it('writes a view to standard output, and nothing else there', async () => {
    const { code, stdout } = await fold(...inputs(), '--export', 'people')
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map(text => JSON.parse(text) as Record<string, unknown>)
    expect(code).toBe(0)
    expect(lines).toEqual([
      { key: 'ada', value: { n: 2, cents: 15 } },
      { key: 'bob', value: { n: 1, cents: 7 } },
      { position: expect.any(String), rows: 2, final: true },
    ])
  })

  it('writes files, says in one line of JSON what it did, and goes on from its checkpoints', async () => {
    const args = [...inputs(), '--state-dir', path('state'), '--format', 'csv', '--json']
    const first = await fold(...args, '--export', `people=${path('people.csv')}`)
    expect(first).toMatchObject({ code: 0 })
    const views = [{ view: 'people', rows: 2, stateBytes: expect.any(Number) }]
    expect(JSON.parse(first.stdout)).toMatchObject({ records: 3, skipped: 0, views })
    expect(await readFile(path('people.csv'), 'utf8')).toBe('key,n,cents\r\nada,2,15\r\nbob,1,7\r\n')
    // All is in the checkpoint.
    const second = await fold(...args)
    expect(JSON.parse(second.stdout)).toMatchObject({ records: 0, views })
  })

  it('stops at a record that is none, with its place, or leaves such records out', async () => {
    await writeFile(path('a.ndjson'), '{"id":1,"who":"ada","cents":5}\nhello\n{"id":2,"who":"bob","cents":7.5}\n')
    const strict = await fold(...inputs())
    expect(strict).toMatchObject({ code: 1, stdout: '' })
    expect(strict.stderr).toMatch(
      /^RECORD_REFUSED a line of orders is not JSON\.\n {2}.*a\.ndjson line 2, byte 31: expected/,
    )
    const lenient = await fold(...inputs(), '--skip-invalid')
    expect(lenient).toMatchObject({ code: 0 })
    expect(lenient.stdout).toMatch(/people +1 rows[\s\S]*2 records in .*, 2 left out/)
    expect(lenient.stderr).toMatch(/line 2, byte 31[\s\S]*line 3, byte 37: cents: expected int/)
  })

  it('refuses what it cannot do before it begins', async () => {
    const cases: readonly (readonly [readonly string[], number, string])[] = [
      [[], 2, "required option '--input <topic=file>'"],
      [['--input', 'orders'], 2, 'expected topic=file'],
      [['--input', `others=${path('a.ndjson')}`], 1, 'TOPIC_UNKNOWN'],
      [['--input', `orders=${path('missing')}`], 1, 'REQUEST_INVALID cannot read'],
      [[...inputs(), '--export', 'persons'], 1, 'VIEW_UNKNOWN'],
      [[...inputs(), '--export', 'people', '--json'], 1, 'standard output takes one thing'],
      [[...inputs(), '--format', 'xml'], 2, 'Allowed choices are ndjson, csv'],
    ]
    const done = await Promise.all(cases.map(([args]) => fold(...args)))
    for (const [n, [, code, text]] of cases.entries()) {
      expect(done[n]!.code, text).toBe(code)
      expect(done[n]!.stderr).toContain(text)
    }
  })
})

describe('foldFiles', () => {
  it('gives the views at the end of the files, read as those of an open application', async () => {
    const seen: number[] = []
    await using folded = await foldFiles(app, {
      inputs: ['a', 'b'].map(name => ({ topic: 'orders', path: path(`${name}.ndjson`) })),
      onProgress: ({ bytes, bytesTotal }) => seen.push(bytes / bytesTotal),
    })
    expect((await folded.client.views.people.get('ada')).value).toEqual({ n: 2, cents: 15 })
    expect(folded).toMatchObject({ records: 3, skipped: 0, views: [{ view: 'people', rows: 2 }] })
    expect(seen.at(-1)).toBe(1)
    let text = ''
    for await (const piece of folded.export('people', 'csv')) text += piece
    expect(text).toContain('ada,2,15')
  })

  it('rejects with what stopped a view, or why it was ended, and leaves nothing behind', async () => {
    const failing = projection('failing', { key: z.string(), state: z.object({ n: z.int() }) }).on(
      orders,
      'who',
      () => {
        throw new Error('no')
      },
    )
    const before = (await readdir(tmpdir())).filter(name => name.startsWith('mainstem-fold-') && !name.includes('test'))
    const inputs = [{ topic: 'orders', path: path('a.ndjson') }]
    await expect(foldFiles(application('fold', { views: [failing] }), { inputs })).rejects.toMatchObject({
      code: 'HANDLER_FAILED',
      detail: expect.stringContaining('failing'),
    })
    const reason = new Error('enough')
    await expect(foldFiles(app, { inputs, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const after = (await readdir(tmpdir())).filter(name => name.startsWith('mainstem-fold-') && !name.includes('test'))
    expect(after).toEqual(before)
  })
})
