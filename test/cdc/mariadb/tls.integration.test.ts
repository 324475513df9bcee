// TLS against a real server, whose certificates come from an authority made here.
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { MariadbOptions } from '../../../cdc/mariadb/index.ts'
import { secretFile } from '../../../core/index.ts'
import { makeCertificates } from '../../support/certificates.ts'
import { createMariadbDatabase, type MariadbServer, withMariadb } from '../../support/mariadb.ts'
import { SERVERS } from './servers.ts'
import { Captured, source } from './support.ts'

describe.each(SERVERS)('a $name with TLS', ({ isMissing, open }) => {
  describe.skipIf(isMissing())('lets in over TLS only', () => {
    let folder: string
    let server: MariadbServer
    let adminUrl: string
    const at = (name: string) => join(folder, name)
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'mainstem-tls-'))
      makeCertificates(folder)
      chmodSync(folder, 0o755)
      for (const name of readdirSync(folder)) chmodSync(at(name), 0o644)
      server = await open({
        'ssl-cert': at('server.pem'),
        'ssl-key': at('server.key'),
        'ssl-ca': at('ca.pem'),
      })
      adminUrl = await createMariadbDatabase(server)
      await withMariadb(adminUrl, client =>
        client.query(`create table customers (id int primary key, name varchar(50) not null);
        create user secured identified by 'secret' require ssl; grant all on *.* to secured;
        create user certified identified by 'secret' require x509; grant all on *.* to certified`),
      )
    })
    afterAll(async () => {
      await server?.stop()
      if (folder) rmSync(folder, { recursive: true, force: true })
    })

    const urlOf = (user: string, host: string, query = ''): string => {
      const url = new URL(adminUrl)
      url.username = user
      url.password = 'secret'
      url.hostname = host
      return `${url.href}${query}`
    }

    /** Streams a row as a user that the server lets in over TLS only; or the error's code. */
    async function tried(url: string, options: Partial<MariadbOptions> = {}): Promise<string> {
      const db = source(url, options)
      const row = z.object({ id: z.int(), name: z.string() })
      const captured = new Captured(db, adminUrl, [db.table('customers', { key: 'id', row })])
      try {
        await captured.start()
        await captured.run("insert into customers values (1, 'Ada') on duplicate key update name = concat(name, '!')")
        await captured.level()
        return (await captured.rows('customers')).length === 1 ? 'streamed' : 'nothing'
      } catch (error) {
        return (error as { code: string }).code
      } finally {
        await captured.close()
      }
    }

    test('an unknown authority is refused, its PEM is taken; without TLS the server refuses', async () => {
      expect(await tried(urlOf('secured', 'localhost'), { tls: true })).toBe('SOURCE_TLS')
      expect(await tried(urlOf('secured', 'localhost'), { tls: { ca: secretFile(at('ca.pem')) } })).toBe('streamed')
      expect(await tried(urlOf('secured', 'localhost', `?sslrootcert=${at('ca.pem')}`))).toBe('streamed')
      expect(await tried(urlOf('secured', 'localhost'))).toBe('SOURCE_AUTHENTICATION')
    })

    test('a certificate of another host is refused, unless its name is given or only the authority is asked for', async () => {
      const ca = secretFile(at('ca.pem'))
      const byAddress = urlOf('secured', '127.0.0.1')
      expect(await tried(byAddress, { tls: { ca } })).toBe('SOURCE_TLS')
      expect(await tried(byAddress, { tls: { ca, serverName: 'elsewhere' } })).toBe('SOURCE_TLS')
      expect(await tried(byAddress, { tls: { ca, serverName: 'localhost' } })).toBe('streamed')
      expect(await tried(byAddress, { tls: { ca, mode: 'verify-ca' } })).toBe('streamed')
      expect(await tried(byAddress, { tls: { mode: 'no-verify' } })).toBe('streamed')
    })

    test('a user that comes by its certificate, and not without', async () => {
      const ca = secretFile(at('ca.pem'))
      const url = urlOf('certified', 'localhost')
      expect(await tried(url, { tls: { ca } })).toBe('SOURCE_AUTHENTICATION')
      const own = { ca, cert: secretFile(at('client.pem')), key: secretFile(at('client.key')) }
      expect(await tried(url, { tls: own })).toBe('streamed')
    })
  })
})
