// Whether commits of the server wait for this stream, because `synchronous_standby_names` has the name of its connection. That setting
// may change at any time, so the server is asked now and then.
import type { Client } from './connection.ts'

const LOOK_EVERY_MS = 1_000

const STANDBY = 'select sync_priority > 0 as synchronous from pg_stat_replication where pid = $1'

export class StandbyWatch {
  readonly #sql: Client
  #timer: NodeJS.Timeout | undefined
  #synchronous = false

  constructor(sql: Client) {
    this.#sql = sql
  }

  /** As of the last look; false while the server does not say. */
  get isSynchronous(): boolean {
    return this.#synchronous
  }

  /** @param pid the server's process that sends the stream */
  start(pid: number): void {
    const look = () => void this.#look(pid).catch(() => {})
    look()
    this.#timer = setInterval(look, LOOK_EVERY_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #look(pid: number): Promise<void> {
    const { rows } = await this.#sql.query<{ synchronous: boolean | null }>(STANDBY, [pid])
    this.#synchronous = rows[0]?.synchronous ?? false
  }
}
