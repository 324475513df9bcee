import { afterAll, beforeAll, expect, test } from 'vitest'
import { contractSource, introspect, variableName } from '../../../cdc/index.ts'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await openTestPostgres()
})
afterAll(() => server?.stop())

test('contracts are written from the tables that exist', async () => {
  const url = await createDatabase(server)
  await withClient(url, client =>
    client.query(`
      create schema sales;
      create type status as enum ('new', 'it''s done');
      create table order_lines (order_id int8, line_no int2, price numeric(12,2) not null, tax numeric, big numeric(30,4), status status not null,
        at timestamptz not null, tags text[], "odd name" inet, doc jsonb not null, total numeric generated always as (price * 2) stored,
        primary key (order_id, line_no));
      create table sales.log (line text);
      create table sales."Customer" (id uuid primary key, born date)`),
  )
  const { tables } = await introspect(url)
  expect(tables.map(table => `${table.schema}.${table.name}`)).toEqual([
    'public.order_lines',
    'sales.Customer',
    'sales.log',
  ])
  const [lines, customer, log] = tables
  expect(contractSource(lines!, 'shop')).toEqual({
    variable: 'orderLines',
    usesMinorUnits: true,
    text: `export const orderLines = shop.table('order_lines', {
  key: ['order_id', 'line_no'],
  row: z.object({
    order_id: z.bigint(),
    line_no: z.int32(),
    price: minorUnits(2),
    tax: z.string().nullable(), // numeric
    big: minorUnits(4, { bigint: true }).nullable(),
    status: z.enum(['new', 'it\\'s done']),
    at: z.iso.datetime(), // timestamp with time zone
    tags: z.array(z.string().nullable()).nullable(),
    'odd name': z.string().nullable(), // inet
    doc: z.json(), // jsonb
  }),
})`,
  })
  expect(contractSource(customer!, 'shop')?.text).toContain(
    `export const salesCustomer = shop.table('sales.Customer', {\n  key: 'id',`,
  )
  expect(contractSource(log!, 'shop')).toBeUndefined()
})

test('table names become variable names', () => {
  expect(['order_lines', 'Orders', '2024', 'class', 'a b-c', '日本'].map(variableName)).toEqual([
    'orderLines',
    'orders',
    '_2024',
    '_class',
    'aBC',
    '_',
  ])
})
