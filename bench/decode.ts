// pgoutput from bytes to rows: our decoder with a contract's writers and what reads their stored form, against the parser of pg-logical-replication, whose
// rows are then brought to the same contract values. The messages are those that a real server sends for real changes.
import pg from 'pg'
import { PgoutputPlugin } from 'pg-logical-replication'
import { z } from 'zod'
import type { RowReader } from '../cdc/connector/rows.ts'
import { createRowReader } from '../cdc/postgres/columns.ts'
import { decodePgoutput, type PgoutputHandler, type Relation, type Tuple } from '../cdc/postgres/pgoutput.ts'
import { ByteReader, ByteWriter, compileContract, minorUnits, parseMinorUnits } from '../core/index.ts'
import { openPostgresServer } from '../samples/support/postgres-server.ts'
import { type BenchResult, interleave, ROUNDS } from './harness.ts'

const ROWS = 200_000

const orders = compileContract(
  'shop.orders',
  'table',
  z.object({
    order_id: z.bigint(),
    customer_id: z.int32(),
    status: z.enum(['placed', 'paid', 'shipped', 'cancelled']),
    amount: minorUnits(2),
    note: z.string().nullable(),
  }),
  'order_id',
)

export async function run(): Promise<BenchResult> {
  const messages = await recordMessages()
  const measured = await interleave([
    { name: 'mainstem', units: ROWS, run: () => decodeOurs(messages) },
    { name: 'pg-logical-replication', units: ROWS, run: () => decodeTheirs(messages) },
  ])
  const ours = measured.perCpuSecond['mainstem'] ?? 0
  const theirs = measured.perCpuSecond['pg-logical-replication'] ?? 0
  return {
    goals: [
      {
        name: 'pgoutput decode per core vs pg-logical-replication',
        value: ours / theirs,
        goal: 1,
        unit: '×',
        equal: measured.equal,
      },
    ],
    figures: {
      rows: ROWS,
      rounds: ROUNDS,
      'mainstem rows/s per core': ours,
      'pg-logical-replication rows/s per core': theirs,
    },
  }
}

/** What a walsender would send for the inserts of `ROWS` orders. */
async function recordMessages(): Promise<Buffer[]> {
  await using server = await openPostgresServer({ fsync: false })
  const client = new pg.Client({ connectionString: server.url() })
  await client.connect()
  try {
    await client.query(
      `create table orders (order_id bigint primary key, customer_id int, status text, amount numeric(12,2), note text)`,
    )
    await client.query('create publication p for table orders')
    await client.query(`select pg_create_logical_replication_slot('s', 'pgoutput')`)
    await client.query(`insert into orders
      select n, n % 100000, (array['placed','paid','shipped','cancelled'])[1 + n % 4], (n % 10000)::numeric / 100,
             case when n % 3 = 0 then 'a note of order ' || n end
        from generate_series(1, ${ROWS}) n`)
    const { rows } = await client.query<{ data: Buffer }>(
      `select data from pg_logical_slot_peek_binary_changes('s', null, null, 'proto_version', '1', 'publication_names', 'p')`,
    )
    return rows.map(row => row.data)
  } finally {
    await client.end()
  }
}

/** Rows in order as a checksum that both sides compute alike. */
class Checksum {
  #count = 0
  #sum = 0
  #last = ''

  add(row: Record<string, unknown>): void {
    this.#count++
    this.#sum += Number(row['order_id']) * 7 + (row['amount'] as number) + ((row['note'] as string | null)?.length ?? 0)
    this.#last = `${row['order_id']} ${row['customer_id']} ${row['status']} ${row['amount']} ${row['note']}`
  }

  toString(): string {
    return `${this.#count} ${this.#sum} ${this.#last}`
  }
}

function decodeOurs(messages: readonly Buffer[]): string {
  const checksum = new Checksum()
  let reader: RowReader | undefined
  const stored = new ByteWriter()
  const decoded = new ByteReader(stored.buffer)
  const types = new Map([
    [20, { class: 'int8', name: 'bigint' }],
    [23, { class: 'int4', name: 'integer' }],
    [25, { class: 'text', name: 'text' }],
    [1700, { class: 'numeric', name: 'numeric(12,2)' }],
  ] as const)
  const handler: PgoutputHandler = {
    begin: () => {},
    commit: () => {},
    relation: (relation: Relation) => {
      const columns = relation.columns.map(column => ({
        name: column.name,
        type: types.get(column.typeId as 20) ?? ({ class: 'other', name: 'unknown' } as const),
      }))
      reader = createRowReader(orders, columns as never)
    },
    insert: (_, after: Tuple) => {
      stored.at = 0
      if (!reader?.write(stored, after)) return
      decoded.buffer = stored.buffer
      decoded.at = 0
      checksum.add(orders.codec.decode(decoded))
    },
    update: () => {},
    delete: () => {},
    message: () => {},
  }
  for (const message of messages) decodePgoutput(message, handler)
  return checksum.toString()
}

function decodeTheirs(messages: readonly Buffer[]): string {
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: ['p'] })
  const checksum = new Checksum()
  for (const bytes of messages) {
    const message = plugin.parse(bytes)
    if (message.tag !== 'insert') continue
    const row = message.new
    checksum.add({ ...row, order_id: BigInt(row['order_id']), amount: parseMinorUnits(row['amount'], 2) })
  }
  return checksum.toString()
}
