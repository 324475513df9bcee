// Single durable appends by 64 concurrent callers: the log, PostgreSQL with a connection for each caller, SQLite. All on one
// disk, each append acknowledged only after its sync; afterwards each store must hold exactly what was sent.
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, type LogTopic, openEmbeddedLog } from '../core/index.ts'
import { openPostgresServer } from '../samples/support/postgres-server.ts'
import { interleave, median, ROUNDS, type Side } from './harness.ts'
import { inFolder, type Part, scaled } from './log-data.ts'

const CALLERS = 64
const BODY_BYTES = 92
/** Per round: each side about a second and more. */
const UNITS = { mainstem: scaled(40_000), postgresql: scaled(6_000), sqlite: scaled(400) }

interface Stored {
  readonly id: number
  readonly body: string
}

interface Store {
  append(event: Stored, caller: number): Promise<unknown>
  /** All that is stored. */
  all(): Promise<Stored[]>
  close(): Promise<void>
}

/** 100 bytes: an integer of 8 and a text of 92. */
const eventOf = (id: number): Stored => ({ id, body: `the event number ${id} `.padEnd(BODY_BYTES, '.') })

export const single = (): Promise<Part> =>
  inFolder(async folder => {
    const stores = { mainstem: await openLog(folder), postgresql: await openPostgres(), sqlite: openSqlite(folder) }
    try {
      const sent = { mainstem: 0, postgresql: 0, sqlite: 0 }
      const names = ['mainstem', 'postgresql', 'sqlite'] as const
      const sides: Side[] = names.map(name => ({
        name,
        units: UNITS[name],
        run: async () => {
          await appendAll(stores[name], sent[name], UNITS[name])
          sent[name] += UNITS[name]
          return 'acknowledged'
        },
      }))
      const before = await syncMs(folder)
      const { perSecond, perCpuSecond } = await interleave(sides)
      const syncedMs = median([before, await syncMs(folder), await syncMs(folder)])
      const equal = { postgresql: true, sqlite: true }
      const own = await holdsAll(stores.mainstem, sent.mainstem)
      equal.postgresql = own && (await holdsAll(stores.postgresql, sent.postgresql))
      equal.sqlite = own && (await holdsAll(stores.sqlite, sent.sqlite))
      const { mainstem = 0, postgresql = 0, sqlite = 0 } = perSecond
      return {
        goals: [
          {
            name: 'append single vs PostgreSQL',
            value: mainstem / postgresql,
            goal: 5,
            unit: '×',
            equal: equal.postgresql,
          },
          {
            name: 'append single vs SQLite WAL synchronous=FULL',
            value: mainstem / sqlite,
            goal: 2,
            unit: '×',
            equal: equal.sqlite,
          },
        ],
        figures: {
          'append single: callers': CALLERS,
          'append single: bytes per event': 8 + BODY_BYTES,
          'append single: rounds': ROUNDS,
          'append single: events per round, mainstem': UNITS.mainstem,
          'append single: events per round, PostgreSQL': UNITS.postgresql,
          'append single: events per round, SQLite': UNITS.sqlite,
          'append single: mainstem events/s': mainstem,
          'append single: mainstem events per CPU second': perCpuSecond['mainstem'] ?? 0,
          'append single: one write of 8 KiB and its fdatasync, ms (median)': syncedMs,
          'append single: what one sync at a time for 64 callers would allow, events/s': (CALLERS * 1000) / syncedMs,
          'append single: PostgreSQL events/s (fsync on, synchronous_commit on)': postgresql,
          'append single: SQLite events/s (WAL, synchronous=FULL)': sqlite,
        },
      }
    } finally {
      for (const store of Object.values(stores)) await store.close()
    }
  })

const PROBES = 100

/** What the disk takes to make a group of appends durable, whoever asks. */
async function syncMs(folder: string): Promise<number> {
  const file = await open(join(folder, 'probe'), 'w')
  const took: number[] = []
  const bytes = Buffer.alloc(8192)
  for (let n = 0; n < PROBES; n++) {
    const startedMs = performance.now()
    await file.write(bytes, 0, bytes.length, n * bytes.length)
    await file.datasync()
    took.push(performance.now() - startedMs)
  }
  await file.close()
  return median(took)
}

/** The callers take the next event as soon as their last one is acknowledged. */
async function appendAll(store: Store, from: number, count: number): Promise<void> {
  let next = from
  const caller = async (n: number) => {
    while (next < from + count) await store.append(eventOf(next++), n)
  }
  await Promise.all(Array.from({ length: CALLERS }, (_, n) => caller(n)))
}

async function holdsAll(store: Store, count: number): Promise<boolean> {
  const stored = (await store.all()).sort((a, b) => a.id - b.id)
  const digest = (events: Iterable<Stored>) => {
    const hash = createHash('sha256')
    for (const { id, body } of events) hash.update(`${id} ${body}\n`)
    return hash.digest('hex')
  }
  return stored.length === count && digest(stored) === digest(Array.from({ length: count }, (_, id) => eventOf(id)))
}

const contract = compileContract('events', 'topic', z.object({ id: z.int(), body: z.string() }), 'id')

async function openLog(folder: string): Promise<Store> {
  const log = await openEmbeddedLog({ path: join(folder, 'log') })
  const events = await log.topic(contract)
  return {
    append: event => {
      const batch = log.batch()
      batch.event(events, contract.parse(event))
      return batch.commit()
    },
    all: () => readLog(log, events),
    close: () => log.close(),
  }
}

async function readLog(log: EmbeddedLog, events: LogTopic): Promise<Stored[]> {
  const all: Stored[] = []
  const accessor = log.accessor<Stored>()
  for await (const batch of log.scan(events)) {
    accessor.reset(batch)
    while (accessor.next()) all.push({ id: accessor.record.id, body: accessor.record.body })
  }
  return all
}

async function openPostgres(): Promise<Store> {
  const settings = { wal_level: 'replica', fsync: 'on', synchronous_commit: 'on' }
  const server = await openPostgresServer({ settings })
  const clients = Array.from({ length: CALLERS }, () => new pg.Client({ connectionString: server.url() }))
  await Promise.all(clients.map(client => client.connect()))
  const [admin] = clients
  await admin?.query('create table events (id bigint primary key, body text not null)')
  const insert = { name: 'insert', text: 'insert into events values ($1, $2)' }
  return {
    append: ({ id, body }, caller) => clients[caller]!.query({ ...insert, values: [id, body] }),
    all: async () => {
      const { rows } = await admin!.query<{ id: string; body: string }>('select id, body from events')
      return rows.map(({ id, body }) => ({ id: Number(id), body }))
    },
    close: async () => {
      await Promise.all(clients.map(client => client.end()))
      await server.stop()
    },
  }
}

function openSqlite(folder: string): Store {
  const database = new DatabaseSync(join(folder, 'events.sqlite'))
  database.exec('pragma journal_mode = wal; pragma synchronous = full')
  database.exec('create table events (id integer primary key, body text not null)')
  const insert = database.prepare('insert into events values (?, ?)')
  return {
    append: async ({ id, body }) => insert.run(id, body),
    all: async () => database.prepare('select id, body from events').all() as unknown as Stored[],
    close: async () => database.close(),
  }
}
