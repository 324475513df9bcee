import { expect, test } from 'vitest'
import { contractSource } from '../../../cdc/index.ts'
import { introspectMariadb } from '../../../cdc/mariadb/index.ts'
import { createMariadbDatabase, isMariadbMissing, openTestMariadb, withMariadb } from '../../support/mariadb.ts'

test.skipIf(isMariadbMissing())('contracts are written from the tables that exist', async () => {
  await using server = await openTestMariadb()
  const url = await createMariadbDatabase(server)
  await withMariadb(url, client =>
    client.query(`create table invoices (
      id bigint unsigned auto_increment primary key, total decimal(12,2) not null, at timestamp(3) null, kind enum('a','it''s') not null,
      flags set('x','y'), doc json, paid boolean not null, note varchar(50), raw blob, doubled int as (id * 2) virtual);
      create table without_key (a int)`),
  )
  const { technology, tables } = await introspectMariadb(url)
  expect(technology).toBe('mariadb')
  expect(tables.map(table => contractSource(table, 'billing')?.text)).toEqual([
    `export const invoices = billing.table('invoices', {
  key: 'id',
  row: z.object({
    id: z.bigint(),
    total: minorUnits(2),
    at: z.iso.datetime().nullable(), // timestamp(3)
    kind: z.enum(['a', 'it\\'s']),
    flags: z.array(z.enum(['x', 'y'])).nullable(),
    doc: z.json().nullable(), // longtext
    paid: z.boolean(),
    note: z.string().nullable(),
    raw: z.instanceof(Uint8Array).nullable(),
  }),
})`,
    undefined,
  ])
})
