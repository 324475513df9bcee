// The same table and changes in MariaDB, without a peer: all rows, and changes that were written while nobody read them.
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import { isMariadbMissing, openTestMariadb } from '../../test/support/mariadb.ts'
import { type Part, STATUSES } from '../log-data.ts'
import { Contest, ROUNDS } from './contest.ts'
import { CHANGES, CHANGES_PER_TRANSACTION, type Read, ROWS, STRIDE } from './database.ts'
import { type CapturedDatabase, capture, checkRead } from './ours.ts'

const HASH = 'cast(coalesce(sum(order_id * 31 + amount_cents), 0) as char) as hash'

export async function mariadb(folder: string, say: (what: string) => void): Promise<Part> {
  if (isMariadbMissing()) return { goals: [], figures: { MariaDB: 'skipped: it is not installed' } }
  await using server = await openTestMariadb()
  const sql = await mysql.createConnection({ uri: server.url(), multipleStatements: true })
  try {
    say(`writing ${ROWS} rows`)
    await sql.query(`create database shop; use shop;
      create table orders (order_id bigint primary key, customer_id int not null, status varchar(20) not null,
        amount_cents int not null, note text not null, updated_at timestamp(3) not null);
      insert into orders select seq, seq % 100000, elt(1 + seq % 4, '${STATUSES.join("','")}'), seq % 100000,
        concat('order ', seq), now(3) from seq_1_to_${ROWS}`)
    const database: CapturedDatabase = { technology: 'mariadb', url: server.url('shop') }
    const content = { events: ROWS, hash: await numberOf(sql, `select ${HASH} from orders`) }
    const [snapshots, drains] = [new Contest(), new Contest()]
    for (let round = 1; round <= ROUNDS; round++) {
      say(`round ${round} of ${ROUNDS}`)
      const dataDir = join(folder, `mariadb-${round}`)
      const expected = round === 1 ? content : { events: ROWS, hash: await numberOf(sql, `select ${HASH} from orders`) }
      await snapshots.round(round, () => checked(database, { mode: 'snapshot', dataDir }, expected), undefined)
      const changes = await change(sql, round)
      const position = await textOf(sql, 'select @@gtid_binlog_pos as hash')
      await drains.round(round, () => checked(database, { mode: 'drain', dataDir, position }, changes), undefined)
    }
    return {
      goals: [],
      figures: { ...snapshots.figures('MariaDB snapshot', 'rows'), ...drains.figures('MariaDB drain', 'changes') },
    }
  } finally {
    await sql.end()
  }
}

async function checked(database: CapturedDatabase, told: Parameters<typeof capture>[1], expected: Read) {
  const read = await capture(database, told)
  checkRead('mainstem', read, expected)
  return read
}

/** As `Database.change` has it. */
async function change(sql: mysql.Connection, round: number): Promise<Read> {
  const place = `1 + (seq * ${STRIDE}) % ${ROWS}`
  const amount = `(seq * 17 + ${round}) % 100000`
  for (let from = 0; from < CHANGES; from += CHANGES_PER_TRANSACTION) {
    await sql.query(`update orders join seq_${from}_to_${from + CHANGES_PER_TRANSACTION - 1} on order_id = ${place}
      set amount_cents = ${amount}, note = concat('changed ', seq), updated_at = now(3)`)
  }
  const changes = `select ${place} as order_id, ${amount} as amount_cents from seq_0_to_${CHANGES - 1}`
  return { events: CHANGES, hash: await numberOf(sql, `select ${HASH} from (${changes}) changes`) }
}

async function textOf(sql: mysql.Connection, query: string): Promise<string> {
  const [rows] = await sql.query<mysql.RowDataPacket[]>(query)
  return String(rows[0]!['hash'])
}

const numberOf = async (sql: mysql.Connection, query: string): Promise<number> => Number(await textOf(sql, query))
