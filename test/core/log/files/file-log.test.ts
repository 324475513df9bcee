// Files as a log: what is read of odd files, where things are said to be, and that positions and blocks are the same wherever reading
// begins.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, type FileLog, type FileLogOptions, openFileLog } from '../../../../core/index.ts'
import { Random } from '../../../support/random.ts'
import { SimulatedDisk } from '../../../support/simulated-disk.ts'

const schema = z.object({ id: z.int(), name: z.string() })
const contract = compileContract('things', 'topic', schema, 'id')

type More = Partial<Omit<FileLogOptions, 'fileSystem'>>

async function open(files: Record<string, string | Buffer>, more: More = {}): Promise<FileLog> {
  const disk = new SimulatedDisk()
  for (const [path, data] of Object.entries(files)) disk.plant(path, Buffer.from(data))
  const inputs = Object.keys(files).map(path => ({ contract, path }))
  return openFileLog({ inputs, fileSystem: disk, ...more })
}

interface Read {
  readonly records: { readonly position: number; readonly row: AnyRow }[]
  /** Where blocks end. */
  readonly ends: number[]
}

async function readAll(log: FileLog, after = 0, lent = false): Promise<Read> {
  const read: Read = { records: [], ends: [] }
  const reader = log.read(after, { lent })
  for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) {
    for (const block of blocks) {
      expect(block.last).toBe(true)
      const cursor = block.records()
      const { length } = read.records
      while (cursor.next()) {
        expect(cursor.position).toBeGreaterThanOrEqual(block.first)
        expect(cursor.position).toBeLessThanOrEqual(block.end)
        read.records.push({ position: cursor.position, row: cursor.after()! })
      }
      expect(block.count).toBeGreaterThanOrEqual(read.records.length - length)
      read.ends.push(block.end)
      expect(reader.position).toBe(block.end)
    }
  }
  reader.close()
  return read
}

const rows = async (log: FileLog): Promise<AnyRow[]> => (await readAll(log)).records.map(({ row }) => row)
const [one, two] = [
  { id: 1, name: 'a' },
  { id: 2, name: 'b' },
]

describe('a log of files', () => {
  it.each([
    ['a last line without its end', '{"id":1,"name":"a"}\n{"id":2,"name":"b"}'],
    ['carriage returns', '{"id":1,"name":"a"}\r\n{"id":2,"name":"b"}\r\n'],
    ['empty lines', '\n\n{"id":1,"name":"a"}\n \t\n\r\n{"id":2,"name":"b"}\n\n  '],
    ['a byte order mark', '\ufeff{"id":1,"name":"a"}\n{"id":2,"name":"b"}\n'],
    ['spaces', ' { "id" : 1 ,\t"name" : "a" } \n{"id": 2, "name": "b"}\n'],
    ['other orders and unknown keys', '{"name":"a","x":[{"y":"}"}],"id":1}\n{"id":2,"z":null,"name":"b"}\n'],
    ['escapes', '{"id":1,"name":"\\u0061"}\n{"\\u0069d":2,"name":"b"}\n'],
  ])('reads lines with %s', async (_, text) => {
    for (const chunkBytes of [1, 3, 7, 20, 64, 1_000]) {
      const log = await open({ '/f': text }, { chunkBytes })
      const read = await readAll(log)
      expect(
        read.records.map(({ row }) => row),
        `chunks of ${chunkBytes}`,
      ).toEqual([one, two])
      expect(await readAll(log, 0, true)).toEqual(read)
      expect(log.end).toBe(Buffer.byteLength(text))
      await log.close()
    }
  })

  it('lends blocks that are gone when the next ones are read, and counts lines all the same', async () => {
    const log = await open({ '/f': '{"id":1,"name":"a"}\n\n{"id":2,"name":"b"}\nnone\n' }, { chunkBytes: 7 })
    const reader = log.read(0, { lent: true })
    const [block] = await reader.ready()
    const [next] = await reader.ready()
    expect(() => block!.records()).toThrow(expect.objectContaining({ code: 'CURSOR_EXPIRED' }))
    expect(next!.records().next()).toBe(true)
    await expect(readAll(log, 0, true)).rejects.toThrow(
      expect.objectContaining({ data: expect.objectContaining({ line: 4 }) }),
    )
    await log.close()
  })

  it('has nothing to say of an empty file, and ends where its files end', async () => {
    const log = await open({ '/a': '', '/b': '\n', '/c': '{"id":1,"name":"a"}', '/d': '' })
    const { records, ends } = await readAll(log)
    expect(records).toEqual([{ position: 20, row: one }])
    expect(ends.at(-1)).toBe(log.end)
    expect(log.files.map(({ end }) => end)).toEqual([0, 1, 20, 20])
    await log.close()
  })

  it('gives the same records, at the same positions and in the same blocks, wherever reading begins', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = new Random(seed)
      const line = () =>
        `${JSON.stringify({ id: random.int(1e6), name: 'x'.repeat(random.int(random.pick([5, 40, 300]))) })}\n`
      const file = () =>
        Array.from({ length: random.int(40) }, line)
          .join('')
          .slice(0, random.next() < 0.3 ? -1 : undefined)
      const log = await open({ '/a': file(), '/b': file(), '/c': file() }, { chunkBytes: 100 })
      const all = await readAll(log)
      for (let after = 0; after <= log.end; after += 1 + random.int(100)) {
        const read = await readAll(log, after)
        expect(read.records, `seed ${seed}, after ${after}`).toEqual(
          all.records.filter(({ position }) => position > after),
        )
        expect(read.ends).toEqual(all.ends.filter(end => end > after))
      }
      await log.close()
    }
  })

  it('reads a line of many chunks, in runs and one by one', async () => {
    const name = '日本語"\\'.repeat(20_000)
    const text = `{"id":1,"name":"a"}\n${JSON.stringify({ id: 3, name })}\n{"id":2,"name":"b"}\n`
    const log = await open({ '/f': text }, { chunkBytes: 4_096 })
    expect(await rows(log)).toEqual([one, { id: 3, name }, two])
    await log.close()
  })

  const invalid: readonly (readonly [string, string | Buffer, string])[] = [
    ['is no JSON', '{"id":3,"name":"c"', 'expected one JSON object'],
    ['is no object', '[1]', 'expected object, received array'],
    ['is not of the contract', '{"id":"3","name":"c"}', 'id: expected number, received string'],
    ['lacks a field', '{"id":3}', 'name: expected string, received undefined'],
    ['is two objects', '{"id":3,"name":"c"}{"id":3,"name":"c"}', 'expected one JSON object'],
    ['is not UTF-8', Buffer.from('7b226964223a332c226e616d65223a22ff227d', 'hex'), 'expected text in UTF-8'],
    ['has half a character', '{"id":3,"name":"\\ud800"}', 'expected whole characters'],
  ]
  it.each(invalid)('says where a line is that %s, or leaves it out and counts it', async (_, line, what) => {
    const text = Buffer.concat([
      Buffer.from('{"id":1,"name":"a"}\n\n'),
      Buffer.from(line),
      Buffer.from('\n{"id":2,"name":"b"}\n'),
    ])
    for (const chunkBytes of [10, 1_000]) {
      const log = await open({ '/f': text }, { chunkBytes })
      await expect(rows(log)).rejects.toMatchObject({
        code: 'RECORD_REFUSED',
        detail: expect.stringContaining(what),
        data: { file: '/f', line: 3, byte: 21 },
      })
      await expect(rows(log)).rejects.toMatchObject({ detail: expect.stringMatching(/^\/f line 3, byte 21: /) })
      await log.close()
      const seen: Error[] = []
      const lenient = await open(
        { '/f': text },
        { chunkBytes, onInvalid: 'skip', onSkipped: error => seen.push(error) },
      )
      expect(await rows(lenient)).toEqual([one, two])
      // Read again, it is the same one.
      expect(await rows(lenient)).toEqual([one, two])
      expect([lenient.skipped, seen.length]).toEqual([1, 1])
      await lenient.close()
    }
  })

  it('goes by the variant of each line, wherever it says so, and refuses lines of none and those that break off', async () => {
    const union = z.discriminatedUnion('type', [
      z.object({ type: z.literal('a'), id: z.int() }),
      z.object({ type: z.literal('b'), id: z.int(), name: z.string() }),
    ])
    const of = compileContract('things', 'topic', union, 'id')
    const lines = [
      '{"type":"a","id":1}',
      '{"id":2,"name":"x","type":"b"}',
      '{"id":3,"more":[1],"type":"c"}',
      '{"id":4,"na',
      '{"id":5,"na\\x":1,"type":"a"}',
      '{"type":"a","id":6,"type":"b","name":"y"}',
      '{"id":7,"type":1}',
      '{"id":8}',
    ]
    const disk = new SimulatedDisk()
    disk.plant('/f', Buffer.from(lines.join('\n')))
    const log = await openFileLog({ inputs: [{ contract: of, path: '/f' }], fileSystem: disk, onInvalid: 'skip' })
    expect(await rows(log)).toEqual([
      { type: 'a', id: 1 },
      { type: 'b', id: 2, name: 'x' },
      { type: 'b', id: 6, name: 'y' },
    ])
    expect(log.skipped).toBe(5)
    await log.close()
  })

  it('knows the line also where reading began behind the first one', async () => {
    const log = await open({ '/f': '{"id":1,"name":"a"}\n{"id":2,"name":"b"}\n{"id":3}\n' }, { chunkBytes: 16 })
    await expect(readAll(log, 40)).rejects.toMatchObject({ data: { line: 3, byte: 40 } })
    await log.close()
  })

  it('refuses a line over the limit, whatever chunks it is read in, and goes on behind it', async () => {
    const long = JSON.stringify({ id: 3, name: 'x'.repeat(500) })
    const text = `{"id":1,"name":"a"}\n${long}\n{"id":2,"name":"b"}\n`
    for (const [chunkBytes, lineBytesMax, fits] of [
      [64, 200, false],
      [64, long.length + 1, true],
      [64, long.length, false],
      [1_000, 200, true],
      [500, 200, false],
      [1, 30, false],
    ] as const) {
      const log = await open({ '/f': text }, { chunkBytes, lineBytesMax })
      const reading = rows(log)
      if (fits) expect(await reading).toHaveLength(3)
      else await expect(reading).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE', data: { file: '/f', line: 2 } })
      await log.close()
      const lenient = await open({ '/f': text }, { chunkBytes, lineBytesMax, onInvalid: 'skip' })
      expect(await rows(lenient), `${chunkBytes} ${lineBytesMax}`).toHaveLength(fits ? 3 : 2)
      expect(lenient.skipped).toBe(fits ? 0 : 1)
      await lenient.close()
    }
  })

  it('is another log when a file is another one', async () => {
    const ids = new Set<string>()
    for (const text of ['{"id":1,"name":"a"}\n', '{"id":1,"name":"b"}\n', '', '{"id":1,"name":"a"}\n\n']) {
      const log = await open({ '/f': text })
      ids.add(log.id)
      await log.close()
    }
    expect(ids.size).toBe(4)
    const again = await open({ '/f': '' })
    expect(ids).toContain(again.id)
    await again.close()
  })

  it('says which file cannot be read, and leaves none open', async () => {
    const disk = new SimulatedDisk()
    disk.plant('/a', Buffer.from(''))
    const inputs = ['/a', '/missing'].map(path => ({ contract, path }))
    await expect(openFileLog({ inputs, fileSystem: disk })).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: expect.stringContaining('/missing'),
    })
    expect(disk.filesOpen).toBe(0)
  })

  it('takes nothing, and its files are closed with it while they are read', async () => {
    const disk = new SimulatedDisk()
    disk.plant('/f', Buffer.from('{"id":1,"name":"a"}\n'.repeat(1_000)))
    const log = await openFileLog({ inputs: [{ contract, path: '/f' }], fileSystem: disk, chunkBytes: 100 })
    expect(() => log.batch()).toThrow(expect.objectContaining({ code: 'TOPIC_READ_ONLY' }))
    const reader = log.read(0)
    const reading = reader.next()
    await log.close()
    await reading
    expect(await reader.next()).toBeUndefined()
    expect(disk.filesOpen).toBe(0)
  })
})
