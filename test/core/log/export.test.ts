// What is exported is all of the log, exactly; what is imported is the log that was exported.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  compileContract,
  type ExportOptions,
  exportLog,
  ImportReader,
  importLog,
  isMainstemError,
  type Log,
  LogFolder,
  type LogTopic,
  openEmbeddedLog,
  verifyLog,
} from '../../../core/index.ts'
import { writtenFolder } from '../../compat/folder.ts'
import { batchesOf } from '../../support/log-batches.ts'
import { FUZZ_PATH, fuzzBase } from '../../support/log-fuzz.ts'
import { Random } from '../../support/random.ts'
import { randomContract } from '../../support/random-contract.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const FOLDER = '/log'

async function exported(disk: SimulatedDisk, path = FOLDER, options: ExportOptions = {}): Promise<string> {
  await using folder = await LogFolder.open(path, disk)
  let text = ''
  for await (const piece of exportLog(folder, options)) text += piece
  return text
}

async function* linesOf(text: string): AsyncGenerator<string> {
  yield* text.trimEnd().split('\n')
}

const load = async (text: string, disk = new SimulatedDisk(), skip = 0) => {
  const done = await importLog(FOLDER, await ImportReader.open(linesOf(text)), { fileSystem: disk, skip })
  return { disk, done }
}

/** The head has the log's id. */
const withoutId = (text: string): string => text.replace(/"log":"[^"]*"/, '"log":""')

const open = (disk: SimulatedDisk, seal = false) =>
  openEmbeddedLog({ path: FOLDER, fileSystem: disk, seal, segmentBytesMax: 3_000 })

interface Shape {
  readonly topic: LogTopic
  readonly row: () => AnyRow
}

function randomTopic(random: Random, n: number) {
  for (;;) {
    const { schema, value } = randomContract(random)
    const keyed = z.object({ ...schema.shape, key: z.int() })
    try {
      return { contract: compileContract(`t${n}`, n === 0 ? 'topic' : 'table', keyed, 'key'), value }
    } catch (error) {
      if (!isMainstemError(error) || error.code !== 'CONTRACT_UNSUPPORTED') throw error
    }
  }
}

/** A topic of a random contract, and rows that it accepts. */
async function randomShape(log: Log, random: Random, n: number): Promise<Shape> {
  const { contract, value } = randomTopic(random, n)
  const topic = await log.topic(contract)
  const row = (): AnyRow => {
    for (;;) {
      try {
        const row = contract.parse({ ...(value(random) as AnyRow), key: random.int(9) })
        log.batch()[n === 0 ? 'event' : 'insert'](topic, row)
        return row
      } catch {
        // What the contract refuses is drawn anew, a few times: some contracts take hardly anything.
        if (random.next() < 0.02) throw new Unfillable()
      }
    }
  }
  return { topic, row }
}

class Unfillable extends Error {}

async function fill(log: Log, shapes: readonly Shape[], random: Random): Promise<void> {
  const batch = log.batch()
  for (let left = random.int(6); left > 0; left--) {
    const { topic, row } = random.pick(shapes)
    if (topic.contract.kind === 'topic') batch.event(topic, row())
    else if (random.next() < 0.1) batch.parked(topic, { op: 'insert', key: 'ß', raw: { a: null, b: '\n' }, error: '"' })
    else if (random.next() < 0.3) batch.delete(topic, row())
    else if (random.next() < 0.5) batch.insert(topic, row())
    else batch.update(topic, row(), row())
  }
  const mark = { source: random.pick(['s', 't']), position: String(random.int(99)) }
  const more = random.next() < 0.5 ? { transaction: 'x', commitTimeUs: random.int(1e9) } : { snapshot: true }
  await batch.commit(random.next() < 0.6 ? { ...mark, ...more } : undefined)
}

async function randomLog(seed: number): Promise<SimulatedDisk> {
  const random = new Random(seed)
  const disk = new SimulatedDisk()
  const log = await open(disk, random.next() < 0.5)
  const shapes: Shape[] = []
  for (let n = 0; n < 3; n++) shapes.push(await randomShape(log, random, n))
  for (let n = 0; n < 30; n++)
    await fill(log, shapes, random).catch(error => {
      if (!(error instanceof Unfillable)) throw error
    })
  await log.sealed()
  await log.close()
  return disk
}

describe('export and import', () => {
  it('give the same log again, of random contracts and all kinds of change', async () => {
    let records = 0
    for (let seed = 1; seed <= 25; seed++) {
      const text = await exported(await randomLog(seed))
      const { disk, done } = await load(text)
      expect(withoutId(await exported(disk)), `seed ${seed}`).toBe(withoutId(text))
      expect(await verifyLog(FOLDER, { fileSystem: disk }), `seed ${seed}`).toMatchObject({ damages: [] })
      records += done.records
    }
    expect(records).toBeGreaterThan(500)
  })

  it('keep batches, marks, append times, parked rows and the layouts of old records', async () => {
    const { disk } = await writtenFolder()
    const text = await exported(disk)
    const again = await load(text)
    // A log that was cleaned has holes between its positions, a new one has none.
    const bare = (of: string) => withoutId(of).replaceAll(/"(position|to)":"\d+",/g, '')
    expect(bare(await exported(again.disk))).toBe(bare(text))
    const [before, after] = await Promise.all([disk, again.disk].map(each => open(each.copy())))
    const contents = async (log: Log) =>
      (await batchesOf(log)).map(({ mark, appendTimeMs, records }) => ({
        mark,
        appendTimeMs,
        records: records.map(({ topic, op, before, after, parked }) => ({ topic, op, before, after, parked })),
      }))
    expect(await contents(after!)).toEqual(await contents(before!))
    for (const source of ['shop', 'billing']) expect(after!.mark(source)).toEqual(before!.mark(source))
    await Promise.all([before, after].map(log => log!.close()))
  })

  it('keep values that JSON does not have', async () => {
    const disk = new SimulatedDisk()
    const log = await open(disk)
    const value = z.object({
      id: z.int(),
      float: z.number(),
      list: z.array(z.string().nullish()),
      map: z.map(z.date(), z.bigint().optional()),
      record: z.record(z.string(), z.instanceof(Uint8Array).nullish()),
      free: z.json(),
      absent: z.string().nullish(),
    })
    const topic = await log.topic(compileContract('odd', 'topic', value, 'id'))
    const row = {
      id: 1,
      float: -0,
      list: ['', undefined, null],
      map: new Map<Date, bigint | undefined>([
        [new Date(-8.64e15), 2n ** 80n],
        [new Date(0.5e15), undefined],
      ]),
      record: JSON.parse('{"__proto__":null}') as Record<string, null>,
      free: { a: [null, '\u2028'] },
      absent: undefined,
    }
    Object.defineProperty(row.record, 'gone', { value: undefined, enumerable: true })
    const batch = log.batch()
    batch.event(topic, row)
    await batch.commit()
    const seen = await batchesOf(log)
    await log.close()
    const again = await open((await load(await exported(disk))).disk)
    const [{ records } = { records: [] }] = await batchesOf(again)
    expect(records).toStrictEqual(seen[0]!.records)
    expect(Object.is(records[0]?.after?.['float'], -0)).toBe(true)
    await again.close()
  })

  it('take whole batches of a range and of topics', async () => {
    const { disk, batches } = await fuzzBase('closed')
    const positions = (text: string) =>
      text.split('\n').flatMap(line => (/^\{"position":"(\d+)","topic"/.exec(line) ?? []).slice(1).map(Number))
    const whole = batches.filter(({ records }) => records.length > 0)
    for (const from of [1, 2, 3, 4, 5, 17]) {
      for (const to of [1, 6, 20, 99]) {
        const wanted = whole.filter(({ first }) => first >= from && first <= to)
        const text = await exported(disk, FUZZ_PATH, { from, to })
        expect(positions(text), `${from}–${to}`).toEqual(
          wanted.flatMap(({ records }) => records.map(each => each.position)),
        )
      }
    }
    const clicks = await exported(disk, FUZZ_PATH, { topics: ['clicks'] })
    const all = batches.flatMap(({ records }) => records)
    expect(positions(clicks)).toEqual(all.filter(({ topic }) => topic === 'clicks').map(({ position }) => position))
    expect(clicks.split('\n')[0]).not.toContain('"kinds"')
    await expect(exported(disk, FUZZ_PATH, { topics: ['none'] })).rejects.toMatchObject({ code: 'TOPIC_UNKNOWN' })
  })

  it('go on where a part of the batches is there already, and refuse a topic of another form', async () => {
    const { disk: whole, batches } = await fuzzBase('closed')
    const text = await exported(whole, FUZZ_PATH)
    const { disk, done } = await load(text)
    const twice = await load(text, disk)
    expect(twice.done.end).toBe(2 * done.end)
    const some = await load(text, disk, done.batches - 1)
    expect(some.done).toMatchObject({ batches: done.batches })
    expect(some.done.end).toBe(2 * done.end + batches.at(-1)!.records.length)
    const other = new SimulatedDisk()
    const log = await open(other)
    await log.topic(compileContract('clicks', 'topic', z.object({ user: z.int() }), 'user'))
    await log.close()
    await expect(load(text, other)).rejects.toMatchObject({ code: 'CONTRACT_CHANGED', data: { topic: 'clicks' } })
  })

  it('name the line that is not right, and append no part of its batch', async () => {
    const { disk: whole, batches } = await fuzzBase('closed')
    const text = await exported(whole, FUZZ_PATH)
    const lines = text.trimEnd().split('\n')
    const changed = (n: number, change: (line: string) => string) =>
      lines.map((line, at) => (at === n ? change(line) : line)).join('\n')
    const page = lines.findIndex(line => line.includes('"page":"/"'))
    const wrong: readonly [string, string, RegExp][] = [
      ['not JSON', changed(6, line => line.slice(1)), /line 7 .*not JSON/],
      ['another member', changed(6, line => line.replace('"op"', '"extra":1,"op"')), /line 7 .*not a record/],
      ['an unknown layout', changed(6, line => line.replace(/"layout":\d+/, '"layout":99')), /line 7 .*layout 99/],
      [
        'a value of another type',
        changed(page, line => line.replace(/"page":"\/"/, '"page":5')),
        RegExp(`line ${page + 1} .*refused`),
      ],
      ['no end', lines.slice(0, -1).join('\n'), /is missing/],
      ['a line lost', lines.filter((_, n) => n !== 6).join('\n'), /says \d+ records/],
      ['no head', lines.slice(1).join('\n'), /line 1 .*head/],
      ['nothing', '', /line 1 /],
    ]
    for (const [what, damaged, message] of wrong) {
      const disk = new SimulatedDisk()
      await expect(load(damaged, disk), what).rejects.toThrow(message)
      if (!disk.paths.some(path => path.endsWith('log.json'))) continue
      const log = await open(disk)
      const there = await batchesOf(log)
      if (what !== 'a line lost') expect(there, what).toEqual(batches.slice(0, there.length))
      await log.close()
    }
    const newer = changed(0, line => line.replace('"format":1', '"format":2'))
    await expect(load(newer)).rejects.toMatchObject({ code: 'LOG_FORMAT_NEWER' })
  })
})
