// MariaDB servers for tests, from the system's packages (apt-get install mariadb-server). Where it is missing its tests are skipped,
// which they say, and fail where CI=true.
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { cacheFolder } from './java.ts'
import { type MariadbServer, openServer, withMariadb } from './mysqld.ts'

export { type MariadbClient, type MariadbServer, withMariadb } from './mysqld.ts'

const execute = promisify(execFile)

const PROGRAMS = ['/usr/sbin/mariadbd', '/usr/libexec/mariadbd', '/usr/local/sbin/mariadbd']
const INSTALLERS = ['/usr/bin/mariadb-install-db', '/usr/local/bin/mariadb-install-db']
const MISSING = `no MariaDB in ${PROGRAMS.join(', ')} (apt-get install mariadb-server)`

/** For `describe.skipIf(isMariadbMissing())`. */
export function isMariadbMissing(): boolean {
  if (PROGRAMS.some(existsSync) || process.env['CI'] === 'true') return false
  process.stderr.write(`skipped: ${MISSING}\n`)
  return true
}

/** Starts a server. `settings` are options of mariadbd. */
export async function openTestMariadb(settings: Readonly<Record<string, string>> = {}): Promise<MariadbServer> {
  const program = PROGRAMS.find(existsSync)
  const installer = INSTALLERS.find(existsSync)
  if (!program || !installer) throw new Error(MISSING)
  const owner = await findOwner()
  const install = (folder: string) => makeData(program, installer, folder, owner)
  return openServer({ technology: 'mariadb', program, owner, install, settings })
}

const INSTALL = [
  '--no-defaults',
  '--auth-root-authentication-method=normal',
  '--skip-test-db',
  '--innodb-flush-method=nosync',
  '--innodb-log-file-size=8M',
]

/** Makes the folder `data`: a copy of one that this version made before, since making it takes longer than all else of a start. */
async function makeData(program: string, installer: string, folder: string, owner: Owner | undefined): Promise<void> {
  const { stdout: version } = await execute(program, ['--no-defaults', '--version'])
  const hash = createHash('sha256')
    .update(JSON.stringify([version, INSTALL, owner]))
    .digest('hex')
    .slice(0, 16)
  const kept = path.join(cacheFolder(), `mariadb-${hash}`)
  const data = path.join(folder, 'data')
  // Keeps owners, which Node's own copy does not.
  const copy = (from: string, to: string) => execute('cp', ['-a', from, to])
  if (existsSync(kept)) {
    await copy(kept, data)
    return
  }
  const asOwner = owner ? [`--user=${owner.name}`] : []
  await execute(installer, [...INSTALL, `--datadir=${data}`, `--tmpdir=${folder}`, ...asOwner])
  await mkdir(cacheFolder(), { recursive: true })
  // Two processes may be at this at once: each makes a folder of its own and puts it in place whole.
  const fresh = `${kept}.${process.pid}`
  await copy(data, fresh)
  await rename(fresh, kept).catch(() => rm(fresh, { recursive: true }))
}

interface Owner {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

async function findOwner(): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const [uid, gid] = await Promise.all([execute('id', ['-u', 'mysql']), execute('id', ['-g', 'mysql'])])
  return { name: 'mysql', uid: Number(uid.stdout), gid: Number(gid.stdout) }
}

/** A new, empty database on the server; gives root's connection string for it. */
export async function createMariadbDatabase(server: Pick<MariadbServer, 'url'>, prefix = 'test'): Promise<string> {
  const name = `${prefix}_${randomBytes(4).toString('hex')}`
  await withMariadb(server.url(), client => client.query(`create database \`${name}\``))
  return server.url(name)
}
