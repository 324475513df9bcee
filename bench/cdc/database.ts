// The database that both sides capture: a table of orders, what is written to it, and what must come out.
import pg from 'pg'
import { openPostgresServer, type PostgresServer } from '../../samples/support/postgres-server.ts'
import { STATUSES, scaled } from '../log-data.ts'
import type { CapturedDatabase } from './ours.ts'

export const ROWS = scaled(500_000, 100)
export const CHANGES = scaled(500_000, 100)
export const CHANGES_PER_TRANSACTION = 100
/** Has no factor in common with the number of rows: changed rows lie far from each other. */
export const STRIDE = 7_919
export const PUBLICATION = 'peer'

/** What one side has read. */
export interface Read {
  readonly events: number
  /** Of each row that came: order_id × 31 + amount_cents, summed. */
  readonly hash: number
}

const HASH = 'coalesce(sum(order_id * 31 + amount_cents), 0)::text as hash'

export class Database implements AsyncDisposable, CapturedDatabase {
  readonly technology = 'postgres'
  readonly server: PostgresServer
  readonly sql: pg.Client
  #round = 0

  private constructor(server: PostgresServer, sql: pg.Client) {
    this.server = server
    this.sql = sql
  }

  /** With all rows, and a publication for the peer. fsync is on, as users have it. */
  static async open(): Promise<Database> {
    const server = await openPostgresServer({ settings: { max_wal_size: '8GB' } })
    const sql = new pg.Client({ connectionString: server.url() })
    await sql.connect()
    await sql.query(`
      create schema shop;
      create table shop.orders (order_id bigint primary key, customer_id int not null, status text not null,
        amount_cents int not null, note text not null, updated_at timestamptz not null);
      insert into shop.orders
        select n, n % 100000, (array['${STATUSES.join("','")}'])[1 + n % 4], n % 100000, 'order ' || n, now()
          from generate_series(1, ${ROWS}) n;
      create publication ${PUBLICATION} for table shop.orders`)
    await sql.query('vacuum analyze shop.orders')
    return new Database(server, sql)
  }

  get url(): string {
    return this.server.url()
  }

  /** What a reader of all rows finds. */
  async content(): Promise<Read> {
    const { rows } = await this.sql.query<{ hash: string }>(`select ${HASH} from shop.orders`)
    return { events: ROWS, hash: Number(rows[0]!.hash) }
  }

  /** Updates rows here and there, a hundred in a transaction; gives what a reader of the changes finds. */
  async change(): Promise<Read> {
    const round = ++this.#round
    const place = (n: string) => `1 + (${n} * ${STRIDE}) % ${ROWS}`
    const amount = (n: string) => `(${n} * 17 + ${round}) % 100000`
    await this.sql.query(`do $$ begin
      for t in 0 .. ${CHANGES / CHANGES_PER_TRANSACTION - 1} loop
        update shop.orders o
           set amount_cents = ${amount('n')}, note = 'changed ' || n, updated_at = clock_timestamp()
          from generate_series(t::bigint * ${CHANGES_PER_TRANSACTION}, t::bigint * ${CHANGES_PER_TRANSACTION} + ${CHANGES_PER_TRANSACTION - 1}) n
         where o.order_id = ${place('n')};
        commit;
      end loop; end $$`)
    const { rows } = await this.sql.query<{ hash: string }>(
      `select ${HASH} from (select ${place('n')} as order_id, ${amount('n')} as amount_cents
         from generate_series(0::bigint, ${CHANGES - 1}) n) changes`,
    )
    return { events: CHANGES, hash: Number(rows[0]!.hash) }
  }

  /** Where the server's log ends: all that was committed lies before it. */
  async lsn(): Promise<string> {
    const { rows } = await this.sql.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn')
    return rows[0]!.lsn
  }

  async createSlot(name: string): Promise<void> {
    await this.sql.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [name])
  }

  /** A slot that somebody has read without saying so. */
  async advanceSlot(name: string): Promise<void> {
    await this.#untilFree(name)
    await this.sql.query('select pg_replication_slot_advance($1, pg_current_wal_flush_lsn())', [name])
  }

  async dropSlot(name: string): Promise<void> {
    await this.#untilFree(name)
    await this.sql.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1', [
      name,
    ])
  }

  /** The server needs a moment to see that a reader has gone. */
  async #untilFree(name: string): Promise<void> {
    await this.sql.query(
      'select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = $1 and active',
      [name],
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end()
    await this.server.stop()
  }
}
