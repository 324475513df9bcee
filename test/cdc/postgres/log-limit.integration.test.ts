// A log that is nearly full: the source pauses, its connection lives, and when there is room all changes come, once each.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { compileContract, nodeFileSystem, type VolumeSpace } from '../../../core/index.ts'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { systemError } from '../../support/simulated-disk.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int(), note: z.string() })
const notes = compileContract('notes', 'topic', z.object({ id: z.string(), text: z.string() }), 'id')
const SENDER_TIMEOUT_MS = 2_000

describe('a PostgreSQL source whose log has no room', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await openTestPostgres({ settings: { wal_sender_timeout: `${SENDER_TIMEOUT_MS}ms` } })
  })
  afterAll(() => server?.stop())

  /** What the simulated volume has left; more of it when asked. */
  async function withCaptured(use: (captured: Captured, volume: Volume) => Promise<void>) {
    const url = await createDatabase(server)
    const db = source(url)
    const captured = new Captured(db, url, [db.table('t', { key: 'id', row })])
    const volume = new Volume()
    captured.fileSystem = volume.fileSystem
    captured.logOptions = { roomCheckMs: 20, segmentBytesMax: 256 * 1024, seal: false }
    try {
      await captured.run('create table t (id int primary key, note text not null)')
      await use(captured, volume)
    } finally {
      await captured.close()
    }
  }

  const insert = (from: number, to: number) =>
    `insert into t select n, repeat('x', 1000) from generate_series(${from}, ${to}) n`
  const backend = (url: string) =>
    withClient(url, async client => {
      const { rows } = await client.query(
        `select active_pid as pid from pg_replication_slots where slot_name = 'mainstem_test_db'`,
      )
      return Number(rows[0].pid)
    })
  /** Resolves when the server has heard of the client for longer than it would wait for it. */
  async function outlived(url: string): Promise<void> {
    const heardMs = () =>
      withClient(url, async client => {
        // pg-logical-replication gives its clock's milliseconds as microseconds.
        const { rows } = await client.query(
          'select extract(epoch from reply_time) * 1e6 as ms from pg_stat_replication',
        )
        return Number(rows[0].ms)
      })
    const first = await heardMs()
    await until(async () => (await heardMs()) > first + SENDER_TIMEOUT_MS * 1.5)
  }
  const names = (captured: Captured) => captured.events.map(({ event }) => event)

  test('pauses before appends are refused, keeps its connection beyond wal_sender_timeout, and goes on', () =>
    withCaptured(async (captured, volume) => {
      captured.logOptions = { ...captured.logOptions, bytesMax: 2_000_000 }
      await captured.start()
      await captured.level()
      const pid = await backend(captured.url)
      for (let n = 0; n < 60; n++) await captured.run(insert(n * 100 + 1, n * 100 + 100))
      const paused = await until(() => {
        const status = captured.connector.status()
        return status.state === 'paused' && status
      })
      expect(paused.waitingFor).toMatch(/^room in the log: (1\.[89]|2) of 2 MB$/)
      expect(paused.error).toBeNull()
      expect(captured.log.status()).toMatchObject({ state: 'open', bytesMax: 2_000_000, waitingFor: paused.waitingFor })
      const { end } = captured.log
      // The rest is the application's, up to the limit.
      const topic = await captured.log.topic(notes)
      const append = (bytes: number) => {
        const batch = captured.log.batch()
        batch.event(topic, { id: 'a', text: 'y'.repeat(bytes) })
        return batch.commit()
      }
      expect((await append(20_000)).last).toBe(end + 1)
      await expect(append(300_000)).rejects.toMatchObject({
        code: 'LOG_FULL',
        detail: expect.stringMatching(/the log has 1\.\d of 2 MB/),
        hint: expect.stringContaining('--log-limit'),
      })
      await outlived(captured.url)
      expect(await backend(captured.url)).toBe(pid)
      expect(captured.log.end).toBe(end + 1)
      expect(names(captured).filter(event => /paused|resumed|retrying|failed/.test(event))).toEqual(['source-paused'])
      // The next start has a larger limit.
      await captured.stop()
      captured.logOptions = { ...captured.logOptions, bytesMax: 20_000_000 }
      await captured.start()
      await captured.level()
      expect(await captured.rows('t')).toHaveLength(6_000)
      expect(volume.asked).toBeGreaterThan(0)
    }))

  test('pauses where the volume gets full, and reads on over the same connection when it is not', () =>
    withCaptured(async (captured, volume) => {
      captured.logOptions = { ...captured.logOptions, segmentBytesMax: 20_000_000, freeBytesMin: 1_000_000 }
      await captured.start()
      await captured.level()
      const pid = await backend(captured.url)
      volume.free = 11_000_000
      for (let n = 0; n < 30; n++) await captured.run(insert(n * 100 + 1, n * 100 + 100))
      await until(() => captured.connector.status().state === 'paused')
      expect(captured.connector.status().waitingFor).toMatch(
        /^room on the volume of the log: 1?\d(\.\d)? MB left, 1 MB of them stay free$/,
      )
      await outlived(captured.url)
      volume.free = 100_000_000
      await captured.level()
      expect(await backend(captured.url)).toBe(pid)
      expect(await captured.rows('t')).toHaveLength(3_000)
      expect(names(captured).filter(event => /paused|resumed|retrying/.test(event))).toEqual([
        'source-paused',
        'source-resumed',
      ])
      expect(captured.connector.status().state).toBe('streaming')
    }))

  test('is paused, not retried, while a disk is really full', () =>
    withCaptured(async (captured, volume) => {
      await captured.start()
      await captured.level()
      volume.full = true
      await captured.run(insert(1, 100))
      await until(() => captured.connector.status().state === 'paused')
      const before = volume.writes
      await until(() => volume.writes > before + 3)
      expect(captured.log.status().state).toBe('full')
      expect(captured.connector.status()).toMatchObject({
        state: 'paused',
        waitingFor: 'room on the disk of the log',
        error: { code: 'LOG_FULL' },
      })
      expect(names(captured).filter(event => /paused|resumed|retrying|failed/.test(event))).toEqual(['source-paused'])
      volume.full = false
      await captured.level()
      expect(await captured.rows('t')).toHaveLength(100)
      expect(captured.connector.status()).toMatchObject({ state: 'streaming', waitingFor: null, error: null })
    }))

  test('a snapshot pauses between its chunks', () =>
    withCaptured(async (captured, volume) => {
      await captured.run(insert(1, 20_000), 'analyze t')
      captured.onEvent = ({ event }) => {
        if (event === 'snapshot-started') volume.free = 20_000_000
      }
      captured.logOptions = { ...captured.logOptions, segmentBytesMax: 30_000_000, freeBytesMin: 1_000_000 }
      await captured.start()
      await until(() => captured.connector.status().state === 'paused')
      volume.free = 100_000_000
      await captured.level()
      expect(await captured.rows('t')).toHaveLength(20_000)
      expect(names(captured).filter(event => /paused|resumed|retrying/.test(event))).toEqual([
        'source-paused',
        'source-resumed',
      ])
    }))
})

/** A real folder on a volume whose free space is what the test says, and whose writes find no room when it says so. */
class Volume {
  free = Number.POSITIVE_INFINITY
  full = false
  asked = 0
  /** Writes into segments, refused or not. */
  writes = 0

  readonly fileSystem = {
    ...nodeFileSystem,
    space: async (): Promise<VolumeSpace> => {
      this.asked++
      return { free: this.free, total: Number.POSITIVE_INFINITY }
    },
    open: async (path: string, mode: 'read' | 'write' | 'create') => {
      const file = await nodeFileSystem.open(path, mode)
      if (!path.endsWith('.segment')) return file
      return {
        read: (into: Buffer, position: number) => file.read(into, position),
        write: async (buffers: readonly Buffer[], position: number) => {
          this.writes++
          if (this.full) throw systemError('ENOSPC')
          return file.write(buffers, position)
        },
        datasync: () => file.datasync(),
        truncate: (bytes: number) => file.truncate(bytes),
        size: () => file.size(),
        modifiedMs: () => file.modifiedMs(),
        close: () => file.close(),
      }
    },
  }
}
