// PostgreSQL as a technology of cdc/connector: logical replication by pgoutput, a slot, snapshots by COPY.
import {
  asMainstemError,
  type CapturedTopic,
  type DropReport,
  type MainstemError,
  type SourceEvent,
} from '../../core/index.ts'
import { OWN_PREFIX } from '../connector/declare-events.ts'
import type { Probe, Retention, Session, SessionOptions, Technology } from '../connector/technology.ts'
import { type Client, connect, connectionError, sqlStateOf } from './connection.ts'
import { dropFromServer } from './drop.ts'
import { lsnPositions, parseLsn } from './lsn.ts'
import { PostgresSession } from './session.ts'
import type { Setup, SetupTable } from './setup.ts'
import { dropSlot, slotInUse } from './slot.ts'

const WAL_HELD = `select pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                                        restart_lsn)::text as bytes from pg_replication_slots where slot_name = $1`
const SERVER_LSN = `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                                 else pg_current_wal_flush_lsn() end)::text as lsn`

export class PostgresTechnology implements Technology<bigint> {
  readonly name = 'postgres'
  readonly positions = lsnPositions
  readonly source: string
  readonly tables: readonly SetupTable[]
  readonly topics: readonly CapturedTopic[]
  readonly slot: string
  readonly publication: string
  readonly retention: Retention
  readonly onEvent: (event: SourceEvent) => void
  readonly #setup: Setup

  constructor(setup: Setup) {
    this.#setup = setup
    this.source = setup.source
    this.tables = setup.tables
    this.topics = setup.topics
    this.slot = setup.slot
    this.publication = setup.publication
    this.retention = setup.retention
    this.onEvent = setup.onEvent
  }

  async connect(options: SessionOptions): Promise<Session<bigint>> {
    return new PostgresSession(this.#setup, await connect(this.#setup.target), options)
  }

  openProbe(): Probe<bigint> {
    return new PostgresProbe(this.#setup)
  }

  explain(cause: unknown): MainstemError {
    const { source, slot } = this.#setup
    const state = sqlStateOf(cause)
    if (state === '55006') {
      const pid = /PID (\d+)/.exec(String(cause))?.[1]
      return slotInUse(source, slot, pid ? Number(pid) : null)
    }
    if (cause instanceof Error && cause.name === 'MainstemError') return asMainstemError(cause)
    // A SQLSTATE has five characters; Node's own codes (ECONNRESET) have more.
    if (state.length === 5 && !/^(08|53|57|28|3D)/.test(state)) {
      return asMainstemError(cause, 'SOURCE_PROTOCOL', `source ${source} refused a command (${state})`)
    }
    return state || /onnection|timeout/.test(String(cause)) ? connectionError(source, cause) : asMainstemError(cause)
  }

  drop(): Promise<DropReport> {
    return dropFromServer(this.source, this.#setup.target, this.#setup)
  }
}

class PostgresProbe implements Probe<bigint> {
  readonly #setup: Setup
  #sql: Promise<Client> | undefined

  constructor(setup: Setup) {
    this.#setup = setup
  }

  async position(): Promise<bigint | undefined> {
    const rows = await this.#query<{ lsn: string | null }>(SERVER_LSN)
    const lsn = rows?.[0]?.lsn
    return lsn ? parseLsn(lsn) : undefined
  }

  async nudge(): Promise<void> {
    await this.#query(`select pg_logical_emit_message(true, '${OWN_PREFIX}', '')`)
  }

  async held(): Promise<number | undefined> {
    const rows = await this.#query<{ bytes: string | null }>(WAL_HELD, [this.#setup.slot])
    const bytes = rows?.[0]?.bytes
    return bytes ? Math.max(0, Number(bytes)) : undefined
  }

  async release(): Promise<boolean> {
    const { source, slot } = this.#setup
    try {
      this.#sql ??= connect(this.#setup.target)
      await dropSlot(await this.#sql, source, slot, true)
      return true
    } catch {
      await this.end()
      return false
    }
  }

  async #query<R extends object>(text: string, values: readonly string[] = []): Promise<readonly R[] | undefined> {
    try {
      this.#sql ??= connect(this.#setup.target)
      return (await (await this.#sql).query<R>(text, [...values])).rows
    } catch {
      await this.end()
      return undefined
    }
  }

  async end(): Promise<void> {
    const sql = this.#sql
    this.#sql = undefined
    await sql?.then(client => client.end()).catch(() => {})
  }
}
