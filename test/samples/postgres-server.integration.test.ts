import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, test, vi } from 'vitest'
import { openPostgresServer } from '../../samples/support/postgres-server.ts'
import { createDatabase, createLimitedRole, isMissing, openTestPostgres, withClient } from '../support/postgres.ts'

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const setting = (url: string, name: string) =>
  withClient(url, async client => {
    const { rows } = await client.query<{ value: string }>('select current_setting($1) as value', [name])
    return rows[0]?.value
  })

describe('a PostgreSQL server for demos and tests', () => {
  test('is ready for change capture, durable, and reachable from this machine only', async () => {
    await using server = await openPostgresServer({ settings: { max_wal_size: '2GB' } })
    expect(await setting(server.url(), 'wal_level')).toBe('logical')
    expect(await setting(server.url(), 'fsync')).toBe('on')
    expect(await setting(server.url(), 'listen_addresses')).toBe('127.0.0.1')
    expect(await setting(server.url(), 'max_wal_size')).toBe('2GB')
  })

  test('asks for its password', async () => {
    await using server = await openTestPostgres()
    const wrong = new URL(server.url())
    wrong.password = 'guess'
    await expect(setting(wrong.href, 'wal_level')).rejects.toMatchObject({ code: '28P01' })
  })

  test('leaves no process and no folder behind when stopped, and may be stopped twice', async () => {
    const server = await openTestPostgres()
    const { pid, folder } = server
    expect(isRunning(pid)).toBe(true)
    await server.stop()
    await server.stop()
    expect(isRunning(pid)).toBe(false)
    expect(existsSync(folder)).toBe(false)
  })

  test.each(['fast', 'immediate'] as const)('keeps its data and its address over a %s restart', async mode => {
    await using server = await openTestPostgres()
    const url = await createDatabase(server)
    await withClient(url, client => client.query('create table kept as select 42 as n'))
    await server.restart(mode)
    const { rows } = await withClient(url, client => client.query('select n from kept'))
    expect(rows).toEqual([{ n: 42 }])
  })

  test('keeps a data folder of the caller’s own, and opens it again', async () => {
    const dataDir = mkdtempSync(path.join(tmpdir(), 'mainstem-test-data-'))
    try {
      {
        await using server = await openPostgresServer({ dataDir, fsync: false })
        await withClient(server.url(), client => client.query('create table kept as select 42 as n'))
      }
      await using server = await openPostgresServer({ dataDir, fsync: false })
      const { rows } = await withClient(server.url(), client => client.query('select n from kept'))
      expect(rows).toEqual([{ n: 42 }])
    } finally {
      rmSync(dataDir, { recursive: true, force: true })
    }
  })

  test('shows the server’s own words when it does not start', async () => {
    await expect(openPostgresServer({ settings: { wal_level: 'nonsense' } })).rejects.toThrow(/wal_level/)
  })

  test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)('ends with its process, even by %s', async signal => {
    const module = path.resolve(import.meta.dirname, '../../samples/support/postgres-server.ts')
    const script = `
      const { openPostgresServer } = await import(${JSON.stringify(module)})
      const server = await openPostgresServer({ fsync: false })
      console.log(JSON.stringify({ pid: server.pid, folder: server.folder }))
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(createInterface({ input: child.stdout }), 'line')
    const { pid, folder } = JSON.parse(String(line)) as { pid: number; folder: string }
    expect(isRunning(pid)).toBe(true)
    child.kill(signal)
    await vi.waitFor(() => expect([isRunning(pid), existsSync(folder)]).toEqual([false, false]), { timeout: 20_000 })
  })

  test.skipIf(isMissing('system'))('also comes in an older version, from the system', async () => {
    await using server = await openTestPostgres({ version: 'system' })
    const version = Number(await setting(server.url(), 'server_version_num'))
    expect(version).toBeGreaterThanOrEqual(150_000)
    expect(version).toBeLessThan(180_000)
    expect(await setting(server.url(), 'wal_level')).toBe('logical')
  })
})

test('a limited role is no superuser, and can publish and replicate its own tables', async () => {
  await using server = await openTestPostgres()
  const role = await createLimitedRole(await createDatabase(server))
  await withClient(role.url, async client => {
    await client.query('create table mine (id int primary key)')
    await client.query('create publication mine for table mine')
    await client.query("select pg_create_logical_replication_slot('mine', 'pgoutput')")
    const { rows } = await client.query("select current_setting('is_superuser') as superuser")
    expect(rows).toEqual([{ superuser: 'off' }])
    await expect(client.query('create role another')).rejects.toMatchObject({ code: '42501' })
  })
})
