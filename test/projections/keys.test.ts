// Keys found from the bytes of hot blocks, of sealed columns and of dictionaries, and by their values: each way leads to the same
// row, whatever the key is.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, openEmbeddedLog, topic } from '../../core/index.ts'
import { application, openEngine, partsOf, projection, type View } from '../../projections/index.ts'
import { Random } from '../support/random.ts'

const columns = {
  id: z.int(),
  text: z.string(),
  maybe: z.string().nullable(),
  n: z.int(),
  maybeN: z.int().nullish(),
  huge: z.bigint(),
  at: z.date(),
  kind: z.enum(['a', 'b']),
}
type Row = z.output<z.ZodObject<typeof columns>>
const events = topic('events', { key: 'id', value: z.object(columns) })
const state = z.object({ count: z.int(), ids: z.int() })
const add = (s: z.output<typeof state>, row: Row): void => {
  s.count++
  s.ids += row.id
}

const byText = projection('by_text', { key: z.string(), state }).on(events, 'text', add)
const byMaybe = projection('by_maybe', { key: z.string(), state }).on(events, 'maybe', add)
const byN = projection('by_n', { key: z.int(), state }).on(events, 'n', add)
const byMaybeN = projection('by_maybe_n', { key: z.int(), state }).on(events, 'maybeN', add)
const byHuge = projection('by_huge', { key: z.bigint(), state }).on(events, 'huge', add)
const byDate = projection('by_date', { key: z.date(), state }).on(events, 'at', add)
const byFunction = projection('by_function', { key: z.string(), state }).on(events, row => row.text, add)
const composite = { text: z.string(), huge: z.bigint(), n: z.int(), kind: z.enum(['a', 'b']) }
const byAll = projection('by_all', { key: z.object(composite), state }).on(
  events,
  { text: 'text', huge: 'huge', n: 'n', kind: 'kind' },
  add,
)
const byTwo = projection('by_two', { key: z.object({ a: z.string(), b: z.string() }), state }).on(
  events,
  { a: 'maybe', b: 'text' },
  add,
)
/** Of each view, the key of a record; null where it has none. */
const keyOf: Record<string, (row: Row) => unknown> = {
  by_text: row => row.text,
  by_maybe: row => row.maybe,
  by_n: row => row.n,
  by_maybe_n: row => row.maybeN ?? null,
  by_huge: row => row.huge,
  by_date: row => row.at,
  by_function: row => row.text,
  by_all: ({ text, huge, n, kind }) => ({ text, huge, n, kind }),
  by_two: row => (row.maybe === null ? null : { a: row.maybe, b: row.text }),
}
const views = [byText, byMaybe, byN, byMaybeN, byHuge, byDate, byFunction, byAll, byTwo] as unknown as readonly View[]

/** The same letter composed and as two, an empty one, what UTF-16 and UTF-8 order differently, zeros, beginnings of each other. */
const SPECIAL = ['', '\0', '\0\0', 'a', 'a\0', 'ab', 'é', 'e\u0301', 'ﬀ', '😀', '\uffee', 'ü'.repeat(300), '-0', '0']
const textOf = (random: Random): string => {
  const way = random.next()
  if (way < 0.3) return random.pick(SPECIAL)
  if (way < 0.35) return 'x'.repeat(190 + random.int(20)) + random.pick(['', 'ß', '\0'])
  if (way < 0.4) return 'long'.repeat(random.int(220))
  return random.int(2 ** 31).toString(16)
}
const hugeOf = (random: Random): bigint =>
  BigInt(random.int(40) - 20) * random.pick([1n, 2n ** 52n, 2n ** 53n, 2n ** 80n]) + BigInt(random.int(2))

/** @param few whether texts come again, so that sealed columns have dictionaries */
function rowsOf(seed: number, few: boolean): Row[] {
  const random = new Random(seed)
  const texts = few ? Array.from({ length: 60 }, () => textOf(random)) : undefined
  return Array.from({ length: 6_000 }, (_, id) => ({
    id,
    text: texts ? random.pick(texts) : textOf(random),
    maybe: random.next() < 0.3 ? null : texts ? random.pick(texts) : textOf(random),
    n: random.pick([random.int(50) - 25, random.int(2 ** 31) * 2 ** 21, -0]),
    maybeN: random.next() < 0.3 ? (random.next() < 0.5 ? null : undefined) : random.int(50),
    huge: hugeOf(random),
    at: new Date(random.int(40) * 1e10 - 2e11),
    kind: random.pick(['a', 'b'] as const),
  }))
}

const textOfKey = (key: unknown): string =>
  JSON.stringify(key, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))

/** What each view is to hold, by a plain Map. */
function expectedOf(rows: readonly Row[]): Map<string, Map<string, { key: unknown; count: number; ids: number }>> {
  return new Map(
    Object.entries(keyOf).map(([view, of]) => {
      const known = new Map<string, { key: unknown; count: number; ids: number }>()
      for (const row of rows) {
        const key = of(row)
        if (key === null) continue
        const entry = known.get(textOfKey(key)) ?? { key, count: 0, ids: 0 }
        known.set(textOfKey(key), entry)
        entry.count++
        entry.ids += row.id
      }
      return [view, known]
    }),
  )
}

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-keys-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function append(log: EmbeddedLog, rows: readonly Row[]): Promise<void> {
  const stored = await log.topic(compileContract('events', 'topic', z.object(columns), 'id'))
  for (let from = 0; from < rows.length; ) {
    const batch = log.batch()
    const end = from + 1 + ((from * 7) % 700)
    for (; from < Math.min(end, rows.length); from++) batch.event(stored, rows[from]!)
    await batch.commit()
  }
}

const open = async (log: EmbeddedLog, folded: readonly View[] = views) => {
  const parts = partsOf(application('test', { views: folded }))
  const engine = await openEngine({ log, parts, path: join(folder, 'views'), fingerprint: 'f' })
  await engine.waitFor(log.end, AbortSignal.timeout(60_000))
  return engine
}

describe('keys', () => {
  it.each([
    [1, false, false],
    [2, false, true],
    [3, true, false],
    [4, true, true],
  ])('lead to their rows, before and after a restart (seed %i, sealed: %s, few: %s)', async (seed, seal, few) => {
    const rows = rowsOf(seed, few)
    const log = await openEmbeddedLog({ path: join(folder, 'log'), seal, segmentBytesMax: 64 * 1024 })
    await append(log, rows.slice(0, 4_000))
    if (seal) await log.sealed()
    const first = await open(log)
    await first.stop()
    await append(log, rows.slice(4_000))
    const engine = await open(log)
    for (const [name, expected] of expectedOf(rows)) {
      const view = engine.views.get(name)!
      expect(view.status().error).toBeNull()
      expect(view.status().rows, name).toBe(expected.size)
      const wrong = [...expected.values()].filter(({ key, count, ids }) => {
        const row = view.get(key)
        return row?.['count'] !== count || row['ids'] !== ids
      })
      expect(wrong, name).toEqual([])
      expect(view.get(name === 'by_text' ? 'nobody' : undefined)).toBeUndefined()
    }
    await engine.stop()
    await log.close()
  })

  it('of rows that left lead nowhere, and their place is used again', async () => {
    const leaving = projection('leaving', { key: z.string(), state }).on(events, 'text', (s, row, ctx) => {
      add(s, row)
      if (row.kind === 'b') ctx.delete()
    }) as unknown as View
    const rows = rowsOf(5, false)
    const log = await openEmbeddedLog({ path: join(folder, 'log'), seal: false })
    const expected = new Map<string, { count: number; ids: number }>()
    const engine = await open(log, [leaving])
    for (let from = 0; from < rows.length; from += 1_000) {
      const part = rows.slice(from, from + 1_000)
      await append(log, part)
      await engine.waitFor(log.end, AbortSignal.timeout(60_000))
      // A checkpoint takes out what left: its places, and its key's bytes, are free then.
      await engine.checkpoint()
      for (const { text, id, kind } of part) {
        const row = expected.get(text) ?? { count: 0, ids: 0 }
        if (kind === 'b') expected.delete(text)
        else expected.set(text, { count: row.count + 1, ids: row.ids + id })
      }
    }
    const view = engine.views.get('leaving')!
    expect(view.status().rows).toBe(expected.size)
    for (const text of new Set(rows.map(row => row.text))) expect(view.get(text)).toEqual(expected.get(text))
    await engine.stop()
    await log.close()
  })
})
