// MariaDB servers for tests, from the system's packages (apt-get install mariadb-server). Where it is missing its tests are skipped,
// which they say, and fail where CI=true.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
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
  const install = (folder: string) =>
    execute(installer, [
      '--no-defaults',
      `--datadir=${path.join(folder, 'data')}`,
      `--tmpdir=${folder}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--innodb-flush-method=nosync',
      '--innodb-log-file-size=8M',
      ...(owner ? [`--user=${owner.name}`] : []),
    ])
  return openServer({ technology: 'mariadb', program, owner, install, settings })
}

async function findOwner(): Promise<{ name: string; uid: number; gid: number } | undefined> {
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
