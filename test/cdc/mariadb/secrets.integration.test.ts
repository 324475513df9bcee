// A password is shown nowhere: neither in errors, with all that hangs on them, nor in events or statuses.
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { MariadbOptions } from '../../../cdc/mariadb/index.ts'
import { describeError, env, reportOf } from '../../../core/index.ts'
import { createMariadbDatabase, type MariadbServer, withMariadb } from '../../support/mariadb.ts'
import { SERVERS } from './servers.ts'
import { Captured, source, until } from './support.ts'

const SECRET = 'sesame-7f3a'
/** A connection that was lost: by then it may have been made again. */
const RETRIED = 'a lost connection'
const row = z.object({ id: z.int32(), name: z.string().nullable() })

describe.each(SERVERS)("a password of $name's", ({ isMissing, open }) => {
  describe.skipIf(isMissing())('user', () => {
    let server: MariadbServer
    let url: string
    beforeAll(async () => {
      server = await open()
      url = await createMariadbDatabase(server)
      await withMariadb(url, client =>
        client.query(`create table t (id int primary key, name varchar(20));
          create table other (id varchar(20) primary key, name text);
          create user reader@127.0.0.1 identified by '${SECRET}'; grant all on *.* to reader@127.0.0.1;
          create user stranger@127.0.0.1 identified by '${SECRET}'; grant select on *.* to stranger@127.0.0.1`),
      )
    })
    afterAll(() => server?.stop())

    const as = (user: string, change: (url: URL) => void = () => {}): string => {
      const changed = new URL(url)
      changed.username = user
      changed.password = SECRET
      change(changed)
      return changed.href
    }

    interface Seen {
      readonly at: string
      readonly options?: Partial<MariadbOptions>
      readonly table?: string
      readonly meanwhile?: (captured: Captured) => Promise<unknown>
    }

    /** All that there is to see of a source that does not open, or does not stay well. */
    async function seen({ at, options = {}, table = 't', meanwhile }: Seen) {
      const db = source(at, options)
      const captured = new Captured(db, url, [db.table(table, { key: 'id', row })])
      const all: unknown[] = []
      let code: unknown
      try {
        await captured.start()
        await meanwhile?.(captured)
        const status = captured.connector.status()
        all.push(status, captured.connector.parked(100))
        code = status.error?.code
      } catch (error) {
        const known = error as Parameters<typeof reportOf>[0]
        code = known.code
        all.push(inspect(error, { depth: 20, showHidden: true }), describeError(error), reportOf(known))
      } finally {
        all.push(captured.events)
        await captured.close()
      }
      return { code, text: all.map(each => (typeof each === 'string' ? each : JSON.stringify(each))).join('\n') }
    }

    const malformed = (rest: string) => `${url.split(':')[0]}://reader:${SECRET}${rest}`

    test.each<[code: string, () => Seen]>([
      ['SOURCE_AUTHENTICATION', () => ({ at: as('nobody') })],
      ['SOURCE_PERMISSION', () => ({ at: as('stranger') })],
      ['SOURCE_UNREACHABLE', () => ({ at: as('reader', each => (each.port = '1')) })],
      ['SOURCE_UNREACHABLE', () => ({ at: as('reader', each => (each.pathname = '/nothing')) })],
      ['SOURCE_UNREACHABLE', () => ({ at: as('reader', each => (each.hostname = 'nowhere.invalid')) })],
      ['SOURCE_UNREACHABLE', () => ({ at: malformed('/x@localhost/db') })],
      ['SOURCE_UNREACHABLE', () => ({ at: malformed('#x@localhost/db') })],
      ['SOURCE_UNREACHABLE', () => ({ at: malformed('%zz@localhost/db') })],
      ['SOURCE_TLS', () => ({ at: as('reader'), options: { tls: true } })],
      ['SOURCE_SETTING_MISSING', () => ({ at: as('reader'), options: { password: env('MAINSTEM_TEST_NOT_SET') } })],
      ['CONTRACT_TABLE_MISSING', () => ({ at: as('reader'), table: 'none' })],
      ['CONTRACT_TYPE_MISMATCH', () => ({ at: as('reader'), table: 'other' })],
      [
        RETRIED,
        () => ({
          at: as('reader'),
          meanwhile: async captured => {
            await captured.level()
            await server.restart('SIGKILL')
            await until(() => captured.event('source-retrying'))
          },
        }),
      ],
    ])('is in nothing that %s shows (%#)', async (code, provoke) => {
      const { code: found, text } = await seen(provoke())
      if (code !== RETRIED) expect(found).toBe(code)
      expect(text).not.toBe('')
      expect(text).not.toContain(SECRET)
    })
  })
})
