// Programs for the JVM, from Maven's registry: whether this machine can run them, and the class path that a pom asks for.
// Jars stay in Maven's own cache; a resolved class path is kept beside it, so that only the first call runs Maven.
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

/** The oldest that Kafka 4 and Flink 2 run on. */
const JAVA_MAJOR_MIN = 17
/** A first run downloads up to 150 MB. */
const MAVEN_TIMEOUT_MS = 300_000

const run = promisify(execFile)

/** Why programs for the JVM cannot run here; undefined where they can. */
export function whyNoJava(): string | undefined {
  const { stdout, status } = spawnSync('javac', ['-version'], { encoding: 'utf8' })
  if (status !== 0) return 'no Java development kit (apt-get install default-jdk-headless)'
  const major = Number(/^javac (\d+)/.exec(stdout)?.[1] ?? 0)
  if (major < JAVA_MAJOR_MIN) return `Java ${major} is older than ${JAVA_MAJOR_MIN}`
  if (spawnSync('mvn', ['--version']).status !== 0) return 'no Maven (apt-get install maven)'
  return undefined
}

export const cacheFolder = (): string =>
  path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'mainstem')

/**
 * The class path of what a folder's pom.xml declares, jars that are missing downloaded first.
 * @throws Error with Maven's own words when it cannot be resolved.
 */
export async function classPathOf(pomFolder: string): Promise<string> {
  const pom = path.join(pomFolder, 'pom.xml')
  const hash = createHash('sha256')
    .update(await readFile(pom))
    .digest('hex')
    .slice(0, 16)
  const cached = path.join(cacheFolder(), `class-path-${hash}`)
  const known = await readFile(cached, 'utf8').catch(() => '')
  if (known !== '' && known.split(path.delimiter).every(jar => existsSync(jar))) return known
  await mkdir(cacheFolder(), { recursive: true })
  // Two processes may be at this at once: each writes a file of its own and puts it in place whole.
  const fresh = `${cached}.${process.pid}`
  await maven(pomFolder, ['dependency:build-classpath', `-Dmdep.outputFile=${fresh}`])
  const classPath = (await readFile(fresh, 'utf8')).trim()
  await writeFile(fresh, classPath)
  await rename(fresh, cached)
  return classPath
}

/** Runs Maven on a folder's pom.xml, quietly. @throws Error with what it said when it fails. */
export async function maven(pomFolder: string, args: readonly string[]): Promise<void> {
  try {
    await run('mvn', ['-B', '-q', '-f', pomFolder, ...args], { timeout: MAVEN_TIMEOUT_MS, maxBuffer: 2 ** 24 })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(`mvn ${args.join(' ')} failed:\n${(stdout + stderr).slice(-4000)}`, { cause: error })
  }
}
