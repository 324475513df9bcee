// A running server of MySQL's family for tests, with its own folder and port.
// It never outlives the process that opened it (server-process.ts).
import type { ChildProcess } from 'node:child_process'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mysql from 'mysql2/promise'
import { findFreePort } from '../../samples/support/free-port.ts'
import {
  dismissGuard,
  endOfLog,
  endProcess,
  hasEnded,
  type Owner,
  spawnServer,
  startGuard,
} from '../../samples/support/server-process.ts'

const START_TIMEOUT_MS = 60_000
const START_POLL_MS = 25
const STOP_TIMEOUT_MS = 10_000

export interface MariadbServer extends AsyncDisposable {
  readonly port: number
  readonly folder: string
  readonly pid: number
  /** A connection string for the user `root`. */
  url(database?: string): string
  /** Stops (`SIGTERM`) or kills it and starts it on the same port. */
  restart(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  stop(): Promise<void>
}

export interface ServerKind {
  readonly technology: 'mariadb' | 'mysql'
  readonly program: string
  /** The account that it runs as, where this process is root. */
  readonly owner: (Owner & { readonly name: string }) | undefined
  /** Makes the folder `data` in here. */
  readonly install: (folder: string) => Promise<unknown>
  /** Options of the server. */
  readonly settings: Readonly<Record<string, string>>
}

/** Starts a server: row-based binary log with names, GTIDs, no fsync. */
export async function openServer(kind: ServerKind): Promise<MariadbServer> {
  const { technology, owner } = kind
  const folder = await mkdtemp(path.join(tmpdir(), `mainstem-${technology}-`))
  if (owner) await chown(folder, owner.uid, owner.gid)
  const guard = startGuard({ pidFile: path.join(folder, 'pid'), signal: 'KILL', folder })
  const server = new RunningServer(kind, folder, guard)
  try {
    await kind.install(folder)
    await server.start()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

class RunningServer implements MariadbServer {
  readonly folder: string
  readonly #kind: ServerKind
  readonly #guard: ChildProcess
  #process: ChildProcess | undefined
  #stopping: Promise<void> | undefined
  port = 0

  constructor(kind: ServerKind, folder: string, guard: ChildProcess) {
    this.#kind = kind
    this.folder = folder
    this.#guard = guard
  }

  get pid(): number {
    return this.#process?.pid ?? 0
  }

  url(database = ''): string {
    return `${this.#kind.technology}://root@127.0.0.1:${this.port}/${encodeURIComponent(database)}`
  }

  async start(): Promise<void> {
    this.port = await findFreePort()
    await this.#launch()
  }

  async restart(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#end(signal)
    await this.#launch()
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    // Nothing of it stays, so it need not tidy up, which takes MySQL two seconds.
    await endProcess(this.#process, [])
    await dismissGuard(this.#guard)
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }

  async #launch(): Promise<void> {
    const { folder } = this
    const { technology, program, owner, settings } = this.#kind
    const all: Record<string, string> = {
      datadir: path.join(folder, 'data'),
      // One that starts removes temporary tables that it finds, another server's too.
      tmpdir: folder,
      // A relative socket: the folder's path may be longer than a socket's may be.
      socket: 'm.sock',
      'pid-file': path.join(folder, 'pid'),
      port: String(this.port),
      'bind-address': '127.0.0.1',
      'server-id': '1',
      'log-bin': 'binlog',
      'binlog-format': 'ROW',
      'binlog-row-metadata': 'FULL',
      'innodb-flush-method': 'nosync',
      'innodb-flush-log-at-trx-commit': '0',
      'innodb-buffer-pool-size': '64M',
      'innodb-log-file-size': '32M',
      'sync-binlog': '0',
      'max-allowed-packet': '1G',
      'character-set-server': 'utf8mb4',
      'skip-name-resolve': '1',
      ...settings,
    }
    const options = Object.entries(all).map(([name, value]) => `--${name}=${value}`)
    const asOwner = owner ? [`--user=${owner.name}`] : []
    const child = await spawnServer(program, ['--no-defaults', ...options, ...asOwner], { folder })
    this.#process = child
    const deadlineMs = performance.now() + START_TIMEOUT_MS
    while (!hasEnded(child) && performance.now() < deadlineMs) {
      if (await this.#answers()) return
      await wait(START_POLL_MS)
    }
    throw new Error(`${technology} did not start in ${folder}:\n${await endOfLog(folder)}`)
  }

  async #answers(): Promise<boolean> {
    try {
      return await withMariadb(this.url(), async client => {
        const [rows] = await client.query<mysql.RowDataPacket[]>('select @@datadir as folder')
        return String(rows[0]?.['folder']).startsWith(this.folder)
      })
    } catch {
      return false
    }
  }

  #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    return endProcess(this.#process, [[signal, STOP_TIMEOUT_MS]])
  }
}

export type MariadbClient = mysql.Connection

/** Connects, runs `use`, and closes, also when it throws. Values are texts, exactly as the server writes them. */
export async function withMariadb<T>(url: string, use: (client: MariadbClient) => Promise<T>): Promise<T> {
  const client = await mysql.createConnection({
    uri: url.replace(/^mariadb:/, 'mysql:'),
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    multipleStatements: true,
  })
  try {
    return await use(client)
  } finally {
    await client.end().catch(() => client.destroy())
  }
}
