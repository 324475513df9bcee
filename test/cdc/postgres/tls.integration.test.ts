// TLS against a real server, whose certificates come from an authority made here.
import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { PostgresOptions } from '../../../cdc/index.ts'
import { secretFile } from '../../../core/index.ts'
import { findOwner } from '../../../samples/support/postgres-binaries.ts'
import { makeCertificates } from '../../support/certificates.ts'
import { openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Captured, source } from './support.ts'

const HBA = `
hostssl all certified 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
host all postgres 127.0.0.1/32 scram-sha-256
`

describe('a server with TLS', () => {
  let folder: string
  let server: PostgresServer
  const at = (name: string) => join(folder, name)
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mainstem-tls-'))
    makeCertificates(folder)
    writeFileSync(at('pg_hba.conf'), HBA)
    const owner = await findOwner()
    chmodSync(folder, 0o755)
    for (const name of readdirSync(folder)) {
      chmodSync(at(name), name.endsWith('.key') ? 0o600 : 0o644)
      // The client's files are of whoever runs the test.
      if (owner && !name.startsWith('client')) chownSync(at(name), owner.uid, owner.gid)
    }
    server = await openTestPostgres({
      settings: {
        ssl: 'on',
        ssl_cert_file: at('server.pem'),
        ssl_key_file: at('server.key'),
        ssl_ca_file: at('ca.pem'),
        hba_file: at('pg_hba.conf'),
      },
    })
    await withClient(server.url(), async client => {
      await client.query('create table customers (id int primary key, name text not null)')
      await client.query('create role certified login replication')
      await client.query('grant create on database postgres to certified')
      await client.query('alter table customers owner to certified')
    })
  })
  afterAll(async () => {
    await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const urlOf = (change: (url: URL) => void = () => {}): string => {
    const url = new URL(server.url())
    url.hostname = 'localhost'
    change(url)
    return url.href
  }

  /** Streams a row over connections that the server says are encrypted; or the error. */
  async function tried(url: string, options: Partial<PostgresOptions> = {}) {
    const db = source(url, options)
    const row = z.object({ id: z.int(), name: z.string() })
    const captured = new Captured(db, server.url(), [db.table('customers', { key: 'id', row })])
    try {
      await captured.start()
      await captured.run(
        `insert into customers values (1, 'Ada') on conflict (id) do update set name = customers.name || '!'`,
      )
      await captured.level()
      expect(await captured.rows('customers')).toMatchObject([{ id: 1 }])
      return await withClient(server.url(), async client => {
        const { rows } = await client.query<{ ssl: boolean }>(
          `select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name like 'mainstem%'`,
        )
        expect(rows.length).toBeGreaterThan(0)
        return rows.every(({ ssl }) => ssl) ? 'encrypted' : 'plain'
      })
    } catch (error) {
      return error as Error & { code: string; hint: string; detail: string }
    } finally {
      await captured.close()
    }
  }

  test('an unknown authority is refused, its PEM is taken', async () => {
    expect(await tried(urlOf(), { tls: true })).toMatchObject({
      code: 'SOURCE_TLS',
      hint: expect.stringContaining('tls: { ca'),
    })
    expect(await tried(urlOf(), { tls: { ca: secretFile(at('ca.pem')) } })).toBe('encrypted')
    expect(await tried(urlOf(), { tls: { ca: readFileSync(at('ca.pem'), 'utf8') } })).toBe('encrypted')
  })

  test('a certificate of another host is refused, unless its name is given or only the authority is asked for', async () => {
    const ca = secretFile(at('ca.pem'))
    const byAddress = urlOf(url => {
      url.hostname = '127.0.0.1'
    })
    expect(await tried(byAddress, { tls: { ca } })).toMatchObject({
      code: 'SOURCE_TLS',
      hint: expect.stringContaining('serverName'),
    })
    expect(await tried(byAddress, { tls: { ca, serverName: 'localhost' } })).toBe('encrypted')
    expect(await tried(byAddress, { tls: { ca, serverName: 'elsewhere' } })).toMatchObject({ code: 'SOURCE_TLS' })
    expect(await tried(byAddress, { tls: { ca, mode: 'verify-ca' } })).toBe('encrypted')
    expect(await tried(byAddress, { tls: { mode: 'verify-ca' } })).toMatchObject({ code: 'SOURCE_TLS' })
    expect(await tried(byAddress, { tls: { mode: 'no-verify' } })).toBe('encrypted')
  })

  test("the url's own words for it", async () => {
    const withMode = (mode: string, root?: string) =>
      urlOf(url => {
        url.searchParams.set('sslmode', mode)
        if (root) url.searchParams.set('sslrootcert', root)
      })
    expect(await tried(withMode('verify-full', at('ca.pem')))).toBe('encrypted')
    expect(await tried(withMode('require'))).toMatchObject({ code: 'SOURCE_TLS' })
    expect(await tried(withMode('no-verify'))).toBe('encrypted')
    expect(await tried(withMode('disable'))).toBe('plain')
    // What the application says counts.
    expect(await tried(withMode('no-verify'), { tls: true })).toMatchObject({ code: 'SOURCE_TLS' })
    expect(await tried(withMode('verify-full', at('nothing.pem')))).toMatchObject({ code: 'SOURCE_SETTING_MISSING' })
  })

  test('a role that comes by its certificate, and not without', async () => {
    const url = urlOf(each => {
      each.username = 'certified'
      each.password = ''
    })
    const ca = secretFile(at('ca.pem'))
    const [cert, key] = [secretFile(at('client.pem')), secretFile(at('client.key'))]
    expect(await tried(url, { tls: { ca } })).toMatchObject({ code: 'SOURCE_AUTHENTICATION' })
    expect(await tried(url, { tls: { ca, cert, key } })).toBe('encrypted')
  })
})
