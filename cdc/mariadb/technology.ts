// MariaDB and MySQL as a technology of cdc/connector: the binary log by GTID, consistent snapshots.
import {
  asMainstemError,
  type CapturedTopic,
  type DropReport,
  type MainstemError,
  type SourceEvent,
} from '../../core/index.ts'
import type { Probe, Session, Technology } from '../connector/technology.ts'
import { type Client, connect, connectionError, errorNumberOf } from './connection.ts'
import { type GtidPosition, type GtidPositions, mariadbPositions, mysqlPositions } from './gtid.ts'
import { lostByDump, serverPosition } from './lost.ts'
import { MariadbSession } from './session.ts'
import type { Setup, SetupTable } from './setup.ts'

export class MariadbTechnology implements Technology<GtidPosition> {
  readonly name: string
  readonly positions: GtidPositions
  readonly source: string
  readonly tables: readonly SetupTable[]
  readonly topics: readonly CapturedTopic[]
  readonly slot = null
  readonly publication = null
  readonly onEvent: (event: SourceEvent) => void
  readonly #setup: Setup

  constructor(setup: Setup) {
    this.#setup = setup
    this.name = setup.flavour
    this.positions = setup.flavour === 'mariadb' ? mariadbPositions : mysqlPositions
    this.source = setup.source
    this.tables = setup.tables
    this.topics = setup.topics
    this.onEvent = setup.onEvent
  }

  async connect(): Promise<Session<GtidPosition>> {
    return new MariadbSession(this.#setup, this.positions, await connect(this.#setup.target))
  }

  openProbe(): Probe<GtidPosition> {
    return new MariadbProbe(this.#setup, this.positions)
  }

  explain(cause: unknown): MainstemError {
    if (cause instanceof Error && cause.name === 'MainstemError') return asMainstemError(cause)
    const { source } = this.#setup
    const lost = lostByDump(source, cause, '')
    if (lost) return lost
    const known = connectionError(source, cause)
    const number = errorNumberOf(cause)
    if (known.code !== 'SOURCE_UNREACHABLE' || number === 0 || SHUTTING_DOWN.has(number)) {
      return isOurs(cause) ? asMainstemError(cause) : known
    }
    return asMainstemError(cause, 'SOURCE_PROTOCOL', `source ${source} refused a command (${number})`)
  }

  async drop(): Promise<DropReport> {
    return { source: this.source, dropped: [] }
  }
}

/** The server stops, has ended the connection, or is not yet up. */
const SHUTTING_DOWN = new Set([1053, 1077, 1078, 1079, 1152, 1159, 1161, 1927, 2006, 2013, 1236, 1049])

/** A programming error, which no database causes: it must not look like a lost connection. */
const isOurs = (cause: unknown): boolean => cause instanceof TypeError || cause instanceof ReferenceError

class MariadbProbe implements Probe<GtidPosition> {
  readonly #setup: Setup
  readonly #positions: GtidPositions
  #sql: Promise<Client> | undefined

  constructor(setup: Setup, positions: GtidPositions) {
    this.#setup = setup
    this.#positions = positions
  }

  async position(): Promise<GtidPosition | undefined> {
    try {
      this.#sql ??= connect(this.#setup.target)
      return await serverPosition(this.#setup, await this.#sql, this.#positions)
    } catch {
      await this.end()
      return undefined
    }
  }

  /** Every transaction stands in the binary log, so what a reader waits for comes by itself. */
  async nudge(): Promise<void> {}

  async end(): Promise<void> {
    const sql = this.#sql
    this.#sql = undefined
    await sql?.then(client => client.end()).catch(() => {})
  }
}
