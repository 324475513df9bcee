// Programs of Python's registry, each set in an environment of its own, which is kept in the cache: only the first run installs it.
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { textOf } from '../../core/index.ts'
import { cacheFolder } from './java.ts'

const run = promisify(execFile)
const INSTALL_MS_MAX = 400_000
/** The oldest that these programs run on. */
const CHECK = 'import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 10))'

/**
 * The interpreter of an environment that has these packages (`name==version`), installed first where they are missing.
 * @throws Error where Python or the registry is missing, with their words
 */
export async function openPython(packages: readonly string[]): Promise<string> {
  if (spawnSync('python3', ['-c', CHECK]).status !== 0)
    throw new Error('no Python from 3.10 with venv (apt-get install python3-venv)')
  const hash = createHash('sha256').update(packages.join(' ')).digest('hex').slice(0, 16)
  const folder = path.join(cacheFolder(), `python-${hash}`)
  const interpreter = path.join(folder, 'bin/python')
  if (existsSync(path.join(folder, 'installed'))) return interpreter
  // Another process may be at this at once: each makes a folder of its own, which is put in place whole.
  const fresh = `${folder}.${process.pid}`
  await mkdir(cacheFolder(), { recursive: true })
  try {
    await run('python3', ['-m', 'venv', fresh])
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages]
    await run(path.join(fresh, 'bin/python'), pip, { timeout: INSTALL_MS_MAX })
    await writeFile(path.join(fresh, 'installed'), packages.join('\n'))
    if (!existsSync(path.join(folder, 'installed'))) await rename(fresh, folder)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
  return interpreter
}

/** Why there is no such environment here; undefined where there is one, or has to be (CI=true). */
export async function whyNoPython(packages: readonly string[]): Promise<string | undefined> {
  try {
    await openPython(packages)
    return undefined
  } catch (error) {
    return process.env['CI'] === 'true' ? undefined : textOf(error)
  }
}
