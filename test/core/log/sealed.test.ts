// Sealed segments say exactly what the hot ones said: over random schemas, all kinds of change, and every place to begin.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  type Batch,
  compileContract,
  type EmbeddedLog,
  type LogBlock,
  type LogTopic,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { appendMarkers, blocksOf, markersContract } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { randomObject } from '../../support/random-schema.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const FOLDER = '/log'

/** All that a reader can see of blocks. */
function seen(blocks: readonly LogBlock[]): unknown[] {
  return blocks.map(block => {
    const records = []
    const cursor = block.records()
    while (cursor.next()) {
      const { position, topic, op } = cursor
      const { name } = topic
      records.push({ position, name, op, before: cursor.before(), after: cursor.after(), parked: cursor.parked() })
    }
    const { first, count, last, appendTimeMs, mark } = block
    return { first, count, last, appendTimeMs, mark, records }
  })
}

interface Shape {
  readonly topic: LogTopic
  readonly row: () => AnyRow
}

async function randomShapes(log: EmbeddedLog, random: Random): Promise<Shape[]> {
  const shapes: Shape[] = []
  for (let n = 0; n < 3; n++) {
    const { schema, value } = randomObject(random)
    const keyed = schema.extend({ key: random.pick([z.int(), z.string(), z.enum(['a', 'b'])]) })
    const kind = n === 0 ? 'topic' : 'table'
    const topic = await log.topic(compileContract(`t${n}`, kind, keyed, 'key'))
    const key = () => (topic.contract.key.columns[0]?.type.kind === 'int' ? random.int(5) : random.pick(['a', 'b']))
    shapes.push({ topic, row: () => ({ ...value(random), key: key() }) })
  }
  return shapes
}

function fill(log: EmbeddedLog, shapes: readonly Shape[], random: Random): Promise<unknown> {
  const batch = log.batch()
  for (let left = random.int(30); left > 0; left--) {
    const { topic, row } = random.pick(shapes)
    const before = row()
    if (topic.contract.kind === 'topic') batch.event(topic, before)
    else change(batch, topic, before, random.next() < 0.5 ? row() : { ...before }, random.int(8))
  }
  const snapshot = random.next() < 0.3 ? { snapshot: true } : {}
  return batch.commit(
    random.next() < 0.6 ? { source: 's', position: String(random.int(99)), commitTimeUs: 5, ...snapshot } : undefined,
  )
}

function change(batch: Batch, topic: LogTopic, before: AnyRow, after: AnyRow, kind: number): void {
  if (kind === 0) batch.parked(topic, { op: 'insert', key: '1', raw: { a: null }, error: 'ß' })
  else if (kind === 1) batch.delete(topic, before)
  else if (kind < 4) batch.insert(topic, after)
  else batch.update(topic, before, after)
}

/** A log of random records, not sealed. */
async function randomLog(seed: number): Promise<SimulatedDisk> {
  const random = new Random(seed)
  const disk = new SimulatedDisk()
  let now = 1_000
  const log = await openEmbeddedLog({
    path: FOLDER,
    fileSystem: disk,
    segmentBytesMax: 4_000,
    seal: false,
    clock: () => (now += random.int(3)),
  })
  const shapes = await randomShapes(log, random)
  for (let n = 0; n < 40; n++) await fill(log, shapes, random)
  await log.close()
  return disk
}

const open = (disk: SimulatedDisk, seal: boolean, compression: 'zstd' | 'none' = 'zstd') =>
  openEmbeddedLog({
    path: FOLDER,
    fileSystem: disk,
    segmentBytesMax: 4_000,
    seal,
    compression,
    onEvent: event => {
      if (event.event === 'log-seal-failed') throw new Error(event.message)
    },
  })

const sealedNames = (disk: SimulatedDisk) => disk.paths.filter(path => path.endsWith('.sealed'))

describe('sealed segments', () => {
  it('give the blocks and records of the hot ones, from every position', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const disk = await randomLog(seed)
      const hot = await open(disk.copy(), false)
      const sealed = await open(disk, true, seed % 2 === 0 ? 'zstd' : 'none')
      await sealed.sealed()
      expect(sealedNames(disk).length, `seed ${seed}`).toBeGreaterThan(1)
      expect(seen(await blocksOf(sealed)), `seed ${seed}`).toEqual(seen(await blocksOf(hot)))
      for (let after = 1; after <= hot.end; after += 61)
        expect(seen(await blocksOf(sealed, after)), `seed ${seed}`).toEqual(seen(await blocksOf(hot, after)))
      expect(sealed.mark('s')).toEqual(hot.mark('s'))
      await hot.close()
      await sealed.close()
      const again = await open(disk, true)
      expect(again.mark('s')).toEqual(hot.mark('s'))
      expect(again.end).toBe(hot.end)
      expect(seen(await blocksOf(again)).length).toBeGreaterThan(0)
      await again.close()
    }
  })

  it('give each stream whole, from any version, forwards and backwards, across sealed and hot segments', async () => {
    const disk = new SimulatedDisk()
    const log = await open(disk, true)
    const people = await log.topic(
      compileContract('people', 'topic', z.object({ n: z.int(), who: z.string(), note: z.string() }), 'who'),
    )
    const others = await log.topic(compileContract('others', 'topic', z.object({ who: z.string() }), 'who'))
    const random = new Random(3)
    const expected = new Map<string, number[]>()
    for (let n = 0; n < 400; n += 4) {
      const batch = log.batch()
      for (let at = n; at < n + 4; at++) {
        const who = `w${random.int(9)}`
        batch.event(people, { n: at, who, note: 'x'.repeat(random.int(200)) })
        batch.event(others, { who })
        expected.set(who, [...(expected.get(who) ?? []), at])
      }
      await batch.commit()
    }
    await log.sealed()
    expect(sealedNames(disk).length).toBeGreaterThan(2)
    const read = async (who: string, options = {}) => {
      const events = []
      for await (const { version, event } of log.stream(people, who, options)) events.push([version, event['n']])
      return events
    }
    for (const [who, numbers] of expected) {
      const all = numbers.map((n, at) => [at + 1, n])
      expect(await log.lastVersion(people, who)).toBe(numbers.length)
      expect(await log.lastVersion(others, who)).toBe(numbers.length)
      expect(await read(who)).toEqual(all)
      expect(await read(who, { from: 5, limit: 7 })).toEqual(all.slice(4, 11))
      expect(await read(who, { backwards: true, limit: 9 })).toEqual([...all].reverse().slice(0, 9))
      expect(await read(who, { backwards: true, from: 6 })).toEqual(all.slice(0, 6).reverse())
    }
    expect(await log.lastVersion(people, 'nobody')).toBe(0)
    expect(await read('nobody')).toEqual([])
    await log.close()
  })
})

describe('a reader between two segments', () => {
  it('reads on in the sealed one where the next was sealed, and its file removed, while it closed the one before', async () => {
    const disk = new SimulatedDisk()
    const options = { path: FOLDER, fileSystem: disk, segmentBytesMax: 1 }
    const hot = await openEmbeddedLog({ ...options, seal: false })
    const topic = await hot.topic(markersContract)
    for (let n = 1; n <= 4; n++) await appendMarkers(hot, topic, n, 1)
    await hot.close()
    const gate = Promise.withResolvers<void>()
    const closing = Promise.withResolvers<void>()
    const slow = slowToClose(disk, `${FOLDER}/00000000000000000001.segment`, () => {
      closing.resolve()
      return gate.promise
    })
    const log = await openEmbeddedLog({ ...options, fileSystem: slow })
    const reader = log.read(0)
    expect((await reader.ready()).map(({ first }) => first)).toEqual([1])
    const following = reader.ready()
    await closing.promise
    await log.sealed()
    expect(disk.paths).not.toContain(`${FOLDER}/00000000000000000002.segment`)
    gate.resolve()
    expect((await following).map(({ first }) => first)).toEqual([2])
    await log.close()
  })
})

/** A disk of which one file is closed, after it was opened for reading, only when something has come about. */
function slowToClose(disk: SimulatedDisk, path: string, closed: () => Promise<void>): SimulatedDisk {
  let reads = 0
  return new Proxy(disk, {
    get(target, name) {
      if (name !== 'open') {
        const member: unknown = Reflect.get(target, name, target)
        return typeof member === 'function' ? member.bind(target) : member
      }
      return async (opened: string, mode: 'read' | 'write' | 'create') => {
        const file = await target.open(opened, mode)
        // The first is of the log's start, which checks the header.
        if (opened !== path || mode !== 'read' || ++reads !== 2) return file
        return { ...file, close: () => closed().then(() => file.close()) }
      }
    },
  })
}
