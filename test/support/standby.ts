// A PostgreSQL server with a physical standby that can be promoted. npm's PostgreSQL brings no pg_basebackup: the standby begins as a
// copy of the primary's folder, made while that is stopped.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTestPostgres, type PostgresServer, type PostgresVersion, withClient } from './postgres.ts'

const execute = promisify(execFile)

export interface ReplicatedPostgres extends AsyncDisposable {
  readonly primary: PostgresServer
  /** The standby, while it runs. */
  readonly standby: PostgresServer
  /** Starts the standby, which streams from the primary. */
  openStandby(settings?: Readonly<Record<string, string>>): Promise<PostgresServer>
  closeStandby(): Promise<void>
  /** Waits until the standby has replayed all that the primary has written. */
  caughtUp(): Promise<void>
  /** The standby becomes a primary, with a timeline of its own. */
  promote(): Promise<void>
}

/** What keeps the primary's log for the standby. */
export const STANDBY_SLOT = 'standby'

/** A primary with a standby that is not running yet. */
export async function openReplicatedPostgres(
  version: PostgresVersion,
  settings: Readonly<Record<string, string>> = {},
): Promise<ReplicatedPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'mainstem-replicated-'))
  await execute('chmod', ['755', folder])
  const [primaryFolder, standbyFolder] = [join(folder, 'primary'), join(folder, 'standby')]
  let primary: PostgresServer | undefined
  let standby: PostgresServer | undefined
  const remove = async () => {
    await standby?.stop()
    await primary?.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    primary = await openTestPostgres({ version, dataDir: primaryFolder })
    await primary.stop()
    // Keeps owners, which Node's own copy does not.
    await execute('cp', ['-a', primaryFolder, standbyFolder])
    await writeFile(join(standbyFolder, 'data', 'standby.signal'), '')
    primary = await openTestPostgres({ version, settings, dataDir: primaryFolder })
    await withClient(primary.url(), client =>
      client.query('select pg_create_physical_replication_slot($1, true)', [STANDBY_SLOT]),
    )
  } catch (error) {
    await remove()
    throw error
  }
  const running = primary
  const open = (): PostgresServer => {
    if (!standby) throw new Error('the standby does not run')
    return standby
  }
  return {
    primary: running,
    get standby() {
      return open()
    },
    async openStandby(more = {}) {
      const { port, username, password } = new URL(running.url())
      standby = await openTestPostgres({
        version,
        dataDir: standbyFolder,
        settings: {
          primary_conninfo: `host=127.0.0.1 port=${port} user=${username} password=${password} dbname=postgres`,
          wal_retrieve_retry_interval: '100ms',
          hot_standby_feedback: 'on',
          primary_slot_name: STANDBY_SLOT,
          ...more,
        },
      })
      return standby
    },
    async closeStandby() {
      await standby?.stop()
      standby = undefined
    },
    async caughtUp() {
      const end = await withClient(running.url(), async client => {
        const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn')
        return rows[0]?.lsn
      })
      await withClient(open().url(), async client => {
        for (;;) {
          const { rows } = await client.query<{ level: boolean }>('select pg_last_wal_replay_lsn() >= $1 as level', [
            end,
          ])
          if (rows[0]?.level) return
          await client.query('select pg_sleep(0.02)')
        }
      })
    },
    async promote() {
      await withClient(open().url(), client => client.query('select pg_promote(true)'))
    },
    [Symbol.asyncDispose]: remove,
  }
}
