// What orders of rows cost: folding with an index and without one, building it while views are read, its memory; and a million rows as
// lines at one cut, while they change: how long its turns are meanwhile, and what memory that takes.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { compileContract, type EmbeddedLog, openEmbeddedLog } from '../../core/index.ts'
import { type Engine, openEngine, partsOf, planRange } from '../../projections/index.ts'
import { openReads, openServer } from '../../query-api/index.ts'
import { check, type Part, scaled } from '../log-data.ts'
import { indexed, plain, ROW } from './ranges-app.ts'

const ROWS = scaled(1_000_000)
const CHANGES = scaled(300_000)
/** Of a transaction. */
const RECORDS = 500
const CITIES = Array.from({ length: 100 }, (_, n) => `city ${String(n).padStart(2, '0')}`)
/** While lines are read, so many transactions of ten a second. */
const WRITES_PER_SECOND = 200
const FOREVER_MS = 3_600_000

const row = (id: number, salt: number) => ({
  id,
  city: CITIES[(id * 31 + salt) % CITIES.length]!,
  cents: (id * 7_919 + salt * 104_729) % 1_000_003,
})

async function append(log: EmbeddedLog, count: number, salt: number, records = RECORDS): Promise<void> {
  const moves = log.findTopic('moves')!
  for (let from = 0; from < count; from += records) {
    const batch = log.batch()
    for (let n = from; n < Math.min(count, from + records); n++)
      batch.event(moves, row(salt === 0 ? n : (n * 613 + salt * 17) % ROWS, salt))
    await batch.commit()
  }
}

const cpuSeconds = () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

const threadMs = () => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1e3
}

/** How long the turns of the event loop are, in CPU time of its thread: others on the machine do not count. */
class Turns {
  #on = true
  #last = threadMs()
  readonly #all: number[] = []

  constructor() {
    const look = () => {
      const now = threadMs()
      this.#all.push(now - this.#last)
      this.#last = now
      if (this.#on) setImmediate(look)
    }
    setImmediate(look)
  }

  end(): { readonly maxMs: number; readonly p99Ms: number; readonly over2Ms: number } {
    this.#on = false
    const sorted = this.#all.toSorted((a, b) => a - b)
    return {
      maxMs: sorted.at(-1) ?? 0,
      p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
      over2Ms: sorted.filter(ms => ms > 2).length,
    }
  }
}

const level = (engine: Engine, log: EmbeddedLog) => engine.waitFor(log.end, AbortSignal.timeout(600_000))

/** Folds what is there, then changes; gives what changes cost. */
async function folded(folder: string, log: EmbeddedLog, app: typeof plain, salt: number, reading: boolean) {
  const options = { log, parts: partsOf(app), fingerprint: 'bench', checkpointIntervalMs: FOREVER_MS }
  const engine = await openEngine({ ...options, path: join(folder, `views-${salt}`) })
  await level(engine, log)
  const status = () => engine.views.get('accounts')!.status()
  const turns = new Turns()
  const before = cpuSeconds()
  const startedMs = performance.now()
  while (status().indexes.some(({ state }) => state === 'building')) await sleep(5)
  const built = { seconds: (performance.now() - startedMs) / 1_000, cpuSeconds: cpuSeconds() - before, ...turns.end() }
  const timer = reading ? setInterval(() => void first(engine), 100) : undefined
  const began = cpuSeconds()
  await append(log, CHANGES, salt)
  await level(engine, log)
  const cpu = cpuSeconds() - began
  clearInterval(timer)
  if (app === indexed) await first(engine)
  const bytes = status().indexes.reduce((sum, each) => sum + each.bytes, 0)
  return { engine, cpu, built, bytes }
}

async function first(engine: Engine): Promise<void> {
  const { range } = planRange(engine.views.get('accounts')!, { where: { city: CITIES[0] } })
  await engine.range({ view: 'accounts', range, most: 10, timeoutMs: 60_000 })
}

/** A process that takes the lines, and says how many rows there were and whether they were in order. */
const CLIENT = `
  const response = await fetch(process.argv[1], { headers: { accept: 'application/x-ndjson' } })
  let rest = '', rows = 0, sorted = true, last = '', end
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\\n')
    rest = lines.pop()
    for (const line of lines) {
      const { key, value, ...others } = JSON.parse(line)
      if (value === undefined) { end = others; continue }
      rows++
      const entry = value.city + String(value.cents).padStart(8, '0') + String(key).padStart(8, '0')
      const place = process.argv[2] === 'key' ? String(key).padStart(8, '0') : entry
      if (place <= last) sorted = false
      last = place
    }
  }
  console.log(JSON.stringify({ rows, sorted, end }))`

/** All rows as lines over HTTP while they change. */
async function lines(url: string, query: string, log: EmbeddedLog | undefined) {
  globalThis.gc?.()
  const rssBefore = process.memoryUsage().rss
  let rss = rssBefore
  const client = spawn(
    process.execPath,
    ['--input-type=module', '-e', CLIENT, `${url}/v1/views/accounts/rows${query}`, query === '' ? 'key' : 'index'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let text = ''
  client.stdout.on('data', piece => {
    text += piece
  })
  const ended = once(client, 'exit')
  const startedMs = performance.now()
  const turns = new Turns()
  let salt = 1_000
  const timers = [
    setInterval(() => {
      rss = Math.max(rss, process.memoryUsage().rss)
    }, 50),
    setInterval(() => log && void append(log, 10, salt++, 10), 1_000 / WRITES_PER_SECOND),
  ]
  await ended
  const seconds = (performance.now() - startedMs) / 1_000
  for (const timer of timers) clearInterval(timer)
  const came = JSON.parse(text) as { rows: number; sorted: boolean; end: { rows: number; position: string } }
  check(came.sorted && came.rows === came.end.rows, 'the lines are not in order, or not whole')
  return { ...came, seconds, grownMiB: (rss - rssBefore) / 2 ** 20, ...turns.end() }
}

export async function ranges(folder: string, say: (what: string) => void): Promise<Part> {
  const log = await openEmbeddedLog({ path: join(folder, 'ranges-log') })
  await log.topic(compileContract('moves', 'topic', ROW, 'id'))
  say(`${ROWS} rows`)
  await append(log, ROWS, 0)
  const costs: Record<string, number> = {}
  say('changes with an index and without one')
  const sides = [
    ['no index', plain, false],
    ['an index, nobody reads by it', indexed, false],
    ['an index, somebody does', indexed, true],
  ] as const
  let last: Awaited<ReturnType<typeof folded>> | undefined
  for (const [n, [name, app, reading]] of sides.entries()) {
    await last?.engine.stop()
    last = await folded(folder, log, app, n + 1, reading)
    costs[`ranges: µs of CPU per change, appending too: ${name}`] = (last.cpu / CHANGES) * 1e6
  }
  const { engine, built, bytes } = last!
  const reads = openReads({ engine, log, sources: new Map() })
  const quiet = { error: () => {}, warn: () => {}, debug: () => {} }
  const server = await openServer({
    application: 'ranges',
    reads,
    topics: new Map(),
    port: 0,
    version: '0',
    log: quiet,
  })
  say('a million rows as lines')
  // The order of keys is built with the first look at it.
  await fetch(`${server.url}/v1/views/accounts/rows?limit=1&timeoutMs=60000`)
  const still = await lines(server.url, '', undefined)
  const changing = await lines(server.url, '', log)
  const byIndex = await lines(server.url, '?where.city.gte=', log)
  check(
    [still, changing, byIndex].every(({ rows }) => rows === ROWS),
    'rows are missing',
  )
  await server.close()
  reads.close()
  await engine.stop()
  await log.close()
  const figures = Object.fromEntries(
    Object.entries({ still, 'rows change': changing, 'by an index, rows change': byIndex }).flatMap(
      ([name, { seconds, grownMiB, maxMs, p99Ms, over2Ms }]) => [
        [`ranges: rows/s as lines: ${name}`, ROWS / seconds],
        [`ranges: MiB that the server grew: ${name}`, grownMiB],
        [`ranges: CPU ms of a turn, p99: ${name}`, p99Ms],
        [`ranges: CPU ms of a turn, longest: ${name}`, maxMs],
        [`ranges: turns beyond 2 ms of CPU: ${name}`, over2Ms],
      ],
    ),
  )
  return {
    goals: [],
    figures: {
      ...costs,
      'ranges: bytes per row of the index': bytes / ROWS,
      'ranges: seconds of building the index': built.seconds,
      'ranges: µs of CPU per row of building it': (built.cpuSeconds / ROWS) * 1e6,
      'ranges: CPU ms of a turn while it is built, p99': built.p99Ms,
      'ranges: CPU ms of a turn while it is built, longest': built.maxMs,
      ...figures,
    },
  }
}
