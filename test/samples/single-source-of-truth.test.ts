import { describe, expect, test } from 'vitest'
import { ApplicationState, type ProcessEvent } from '../../samples/single-source-of-truth/application-state.ts'
import {
  type Answers,
  compareViews,
  corruptCopy,
  findsCorruption,
  type Row,
  type Rows,
} from '../../samples/single-source-of-truth/audit.ts'
import { ChaosPlan, KILLS_MIN, PHASES, type Phase } from '../../samples/single-source-of-truth/chaos.ts'

const ada: Row = { name: 'Ada', city: null, since: '2024-03-01T09:00:00.000Z', 'orders.paid': 2, open_cents: 1500 }
const bob: Row = { name: 'Bob', city: 'Bern', since: null, 'orders.paid': 0, open_cents: 0 }
const expected = new Map<string, Rows>([
  [
    'accounts',
    new Map([
      ['1', ada],
      ['2', bob],
    ]),
  ],
  ['bills', new Map([['9007199254741993', { customer_id: 1, due: '2026-12-01', open_cents: 1500 }]])],
])

/** Answers that are right, but for what `change` does to the rows of accounts. */
function answers(change: (rows: Map<string, Row>) => void = () => undefined, surplus = 0): Map<string, Answers> {
  const found = new Map<string, Answers>()
  for (const [view, rows] of expected) {
    const copy = new Map(rows)
    if (view === 'accounts') change(copy)
    found.set(view, { rows: copy, count: copy.size + (view === 'accounts' ? surplus : 0) })
  }
  return found
}

describe('the audit', () => {
  test('finds nothing where every row is as expected', () => {
    expect(compareViews(expected, answers())).toEqual({
      rowsCompared: 3,
      differences: 0,
      listed: [],
      byField: new Map(),
    })
  })

  test.each([
    ['a wrong number', { ...ada, open_cents: 1501 }, { field: 'open_cents', expected: 1500, found: 1501 }],
    ['a number as text', { ...ada, open_cents: '1500' }, { field: 'open_cents', expected: 1500, found: '1500' }],
    ['a text where null belongs', { ...ada, city: '' }, { field: 'city', expected: null, found: '' }],
    ['a null where a text belongs', { ...ada, name: null }, { field: 'name', expected: 'Ada', found: null }],
    [
      'a date that is off by a millisecond',
      { ...ada, since: '2024-03-01T09:00:00.001Z' },
      { field: 'since', expected: '2024-03-01T09:00:00.000Z', found: '2024-03-01T09:00:00.001Z' },
    ],
    ['a wrong count inside of a record', { ...ada, 'orders.paid': 3 }, { field: 'orders.paid', expected: 2, found: 3 }],
    ['a field too many', { ...ada, age: 3 }, { field: 'age', expected: undefined, found: 3 }],
  ])('finds %s', (_what, row: Row, difference) => {
    const { differences, listed } = compareViews(
      expected,
      answers(rows => rows.set('1', row)),
    )
    expect(differences).toBe(1)
    expect(listed).toEqual([{ view: 'accounts', key: '1', ...difference }])
  })

  test('finds a field that is missing', () => {
    const { open_cents, ...rest } = bob
    expect(
      compareViews(
        expected,
        answers(rows => rows.set('2', rest)),
      ).listed,
    ).toEqual([{ view: 'accounts', key: '2', field: 'open_cents', expected: open_cents, found: undefined }])
  })

  test('finds a row that is missing', () => {
    expect(
      compareViews(
        expected,
        answers(rows => rows.delete('2')),
      ),
    ).toEqual({
      rowsCompared: 3,
      differences: 1,
      listed: [{ view: 'accounts', key: '2', field: '(row)', expected: bob, found: undefined }],
      byField: new Map([['accounts.(row)', 1]]),
    })
  })

  test('finds a row too many, also where another one is missing', () => {
    const { listed } = compareViews(expected, answers(undefined, 1))
    expect(listed).toEqual([{ view: 'accounts', key: '', field: '(rows)', expected: 2, found: 3 }])
    expect(
      compareViews(
        expected,
        answers(rows => rows.delete('1'), 1),
      ).differences,
    ).toBe(2)
  })

  test('finds a view that was not read at all', () => {
    expect(compareViews(expected, new Map()).differences).toBe(3)
  })

  test('counts all differences and lists the first ten', () => {
    const many = new Map([['v', new Map(Array.from({ length: 25 }, (_, n) => [String(n), { n }] as const))]])
    const { differences, listed } = compareViews(many, new Map([['v', { rows: new Map(), count: 0 }]]))
    expect([differences, listed.length]).toEqual([25, 10])
  })

  test('corrupts one field of one row in a copy, and finds just that', () => {
    const found = answers()
    const corrupted = corruptCopy(found)
    expect(compareViews(expected, corrupted?.copy ?? new Map())).toMatchObject({
      differences: 1,
      listed: [corrupted?.corruption],
    })
    expect(compareViews(expected, found).differences).toBe(0)
    expect(findsCorruption(expected, found)).toBe(true)
  })

  test('finds the corrupted row among other differences too, and does not claim to where there are no rows', () => {
    const other = answers(rows => rows.delete('2'))
    expect(findsCorruption(expected, other)).toBe(true)
    expect(findsCorruption(new Map(), new Map())).toBe(false)
  })
})

describe('the state of an application', () => {
  const started = (source: string, rowsEstimated: number): ProcessEvent => ({
    event: 'snapshot-started',
    source,
    tables: 1,
    rowsEstimated,
  })
  const ended = (source: string, rows: number): ProcessEvent => ({ event: 'snapshot-ended', source, rows, seconds: 1 })
  const streaming = (source: string): ProcessEvent => ({ event: 'streaming', source, position: '0/1' })

  test('follows each source from its snapshot to streaming, and starts again with the process', () => {
    const state = new ApplicationState(['shop', 'billing'])
    state.apply({ event: 'spawned', pid: 1 })
    state.apply(started('shop', 1000))
    state.apply(started('billing', 1000))
    const progress = { event: 'snapshot-progress', rowsEstimated: 500, rowsPerSecond: 10 } as const
    for (const [table, rows] of [
      ['t', 100],
      ['t', 300],
      ['u', 200],
    ] as const) {
      state.apply({ ...progress, source: 'shop', table, rows })
    }
    expect([state.snapshotShare, state.streaming, state.snapshot]).toEqual([0.25, false, undefined])
    state.apply(ended('shop', 900))
    expect(state.snapshot).toBeUndefined()
    state.apply(ended('billing', 1100))
    expect(state.snapshot?.rows).toBe(2000)
    state.apply(streaming('shop'))
    expect(state.streaming).toBe(false)
    state.apply(streaming('billing'))
    expect(state.streaming).toBe(true)
    state.apply({ event: 'spawned', pid: 2 })
    expect([state.streaming, state.snapshotShare, state.snapshot?.rows]).toEqual([false, undefined, 2000])
  })
})

describe('the plan of chaos', () => {
  const ROUNDS_MAX = 5

  /** Runs an application until the plan is done with it; without a kill it streams for a few rounds at most. */
  function live(plan: ChaosPlan, snapshots: readonly ProcessEvent[]): Phase[] {
    const state = new ApplicationState(['shop', 'billing'])
    const kills: Phase[] = []
    while (!plan.done) {
      const before = kills.length
      const rounds = Array<ProcessEvent[]>(ROUNDS_MAX).fill(round).flat()
      for (const event of [...begin, ...snapshots, ...streams, ...rounds]) {
        state.apply(event)
        const strike = plan.next(event, state)
        if (strike === undefined) continue
        kills.push(strike.phase)
        break
      }
      if (kills.length === before) throw new Error(`no kill after ${kills.join(', ')}`)
    }
    return kills
  }
  const status: ProcessEvent = {
    event: 'status',
    changes: 0,
    logEnd: 0,
    position: 0,
    recordsPerSecond: 0,
    progress: null,
    lagP50Ms: null,
    lagP99Ms: null,
    totalLagP50Ms: null,
    totalLagP99Ms: null,
    sources: [],
  }
  const started = (source: string): ProcessEvent => ({
    event: 'snapshot-started',
    source,
    tables: 1,
    rowsEstimated: 100,
  })
  const progress = (source: string, rows: number): ProcessEvent => ({
    event: 'snapshot-progress',
    source,
    table: 't',
    rows,
    rowsEstimated: 100,
    rowsPerSecond: 1,
  })
  const ended = (source: string): ProcessEvent => ({ event: 'snapshot-ended', source, rows: 100, seconds: 1 })
  const handover = (source: string): ProcessEvent => ({ event: 'handover', source, position: '0/1' })
  const streaming = (source: string): ProcessEvent => ({ event: 'streaming', source, position: '0/1' })
  const snapshot: ProcessEvent[] = [
    started('shop'),
    started('billing'),
    progress('shop', 20),
    progress('billing', 80),
    ended('billing'),
    handover('billing'),
    streaming('billing'),
    progress('shop', 90),
    ended('shop'),
    handover('shop'),
  ]
  const shortSnapshot = ['shop', 'billing'].flatMap(source => [started(source), ended(source), handover(source)])
  const begin: ProcessEvent[] = [
    { event: 'spawned', pid: 1 },
    { event: 'listening', url: 'http://127.0.0.1:7070' },
  ]
  const streams: ProcessEvent[] = [streaming('billing'), streaming('shop')]
  const round: ProcessEvent[] = [
    status,
    { event: 'checkpoint-started', position: 1 },
    { event: 'checkpoint-ended', position: 1, ms: 1 },
  ]

  test('kills in every phase, at least as often as promised', () => {
    const plan = new ChaosPlan(() => 0.5)
    const kills = live(plan, snapshot)
    expect(kills.length).toBeGreaterThanOrEqual(KILLS_MIN)
    expect(plan.done).toBe(true)
    expect(new Set(kills)).toEqual(new Set(PHASES))
    expect(kills.slice(0, 5)).toEqual(['snapshot', 'snapshot', 'restart', 'handover', 'snapshot'])
    expect(kills.slice(5, 8)).toEqual(['handover', 'handover', 'streaming'])
  })

  test('comes to its end where a snapshot is too short to be hit in its midst', () => {
    const plan = new ChaosPlan(() => 0.5)
    const kills = live(plan, shortSnapshot)
    expect(kills.length).toBeGreaterThanOrEqual(KILLS_MIN)
    expect(plan.done).toBe(true)
    expect(kills.filter(phase => phase === 'handover').length).toBeGreaterThanOrEqual(2)
  })

  test('comes to its end where the rest of a snapshot is read beside the stream', () => {
    const plan = new ChaosPlan(() => 0.5)
    const state = new ApplicationState(['shop', 'billing'])
    const first = [[started('shop')], [progress('shop', 50), progress('billing', 50)], [], [handover('billing')]]
    const later = [streaming('shop'), started('shop'), streaming('billing'), ended('shop'), ...round, ...round]
    let kills = 0
    for (let life = 0; life < 30 && !plan.done; life++) {
      for (const event of [...begin, ...(first[life] ?? later)]) {
        state.apply(event)
        if (plan.next(event, state) === undefined) continue
        kills++
        break
      }
      // One that is not killed does not begin anew.
      if (kills === life) break
    }
    expect(plan.done).toBe(true)
    expect(kills).toBeGreaterThanOrEqual(KILLS_MIN)
  })

  test('tries again when a kill came too late for its checkpoint, but not for ever', () => {
    const plan = new ChaosPlan(() => 0.5)
    const state = new ApplicationState(['shop', 'billing'])
    let tries = 0
    for (let life = 0; life < 100 && !plan.done; life++) {
      for (const event of [...begin, ...snapshot, ...streams, ...round]) {
        state.apply(event)
        const strike = plan.next(event, state)
        if (strike === undefined) continue
        if (strike.phase === 'checkpoint') {
          tries++
          plan.repeat()
        }
        break
      }
    }
    expect(plan.done).toBe(true)
    expect(tries).toBeGreaterThan(2)
  })
})
