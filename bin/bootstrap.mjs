// The one step between a fresh clone and a running program. Plain Node >= 20 without dependencies, because it runs
// before anything is installed and on whatever Node the machine has:
//
//   node bin/bootstrap.mjs <script> [args...]   installs what is missing, then runs the script (a path in this
//                                               repository) on Node 24, in the current folder
//   node bin/bootstrap.mjs test [vitest args]   type check, lint, tests; its last line is `N passed, N failed, N skipped`
//
// The runtime itself is a devDependency (npm's `node`), so nobody has to change the Node of their machine.

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 24
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const modules = path.join(root, 'node_modules')
const binFolder = path.join(modules, '.bin')
/** Compiled code, and types stripped, for whatever process or thread is started next: of tests that is a third of the work. */
const compileCache = path.join(modules, '.cache', 'node-compile')

/** Ctrl-C reaches this process more than once (from the terminal, from npm, from `timeout`): what comes within this is one. */
const SIGNAL_DEBOUNCE_MS = 1000

const say = line => process.stderr.write(`${line}\n`)

/** Ends with a message for people, and for `test` with the counts line that a machine waits for. */
function giveUp(message) {
  say(`mainstem: ${message}`)
  if (process.argv[2] === 'test') process.stdout.write('0 passed, 1 failed, 0 skipped\n')
  process.exit(1)
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return undefined
  }
}

/**
 * Whether node_modules holds what the lockfile says. Compared by content, not by time: `git checkout` touches times,
 * and an interrupted `npm ci` leaves a folder without its own lockfile.
 */
function isInstalled() {
  const wanted = readPackages(path.join(root, 'package-lock.json'))
  const present = readPackages(path.join(modules, '.package-lock.json'))
  if (wanted === undefined) giveUp('package-lock.json is missing or damaged; run `git checkout package-lock.json`')
  if (present === undefined) return false
  return Object.entries(wanted).every(([name, wantedPackage]) => {
    const presentPackage = present[name]
    // Optional packages are missing where they belong to another platform.
    const optional = wantedPackage.optional === true || wantedPackage.devOptional === true
    if (name === '' || (presentPackage === undefined && optional)) return true
    return presentPackage?.version === wantedPackage.version
  })
}

function install() {
  say('mainstem: installing dependencies, once (npm ci) …')
  const started = performance.now()
  // Development dependencies are needed even where NODE_ENV=production: the runtime is one of them.
  const { status, error } = spawnSync('npm', ['ci', '--include=dev', '--no-fund', '--no-audit', '--loglevel=error'], {
    cwd: root,
    // npm's own report goes to stderr, so that stdout stays the program's (its last line may be JSON).
    stdio: ['ignore', process.stderr, process.stderr],
    shell: process.platform === 'win32',
  })
  if (error !== undefined) giveUp(`cannot run npm: ${error.message}`)
  if (status !== 0) giveUp(`npm ci failed (exit code ${status}); its messages stand above`)
  say(`mainstem: installed in ${((performance.now() - started) / 1000).toFixed(1)} s`)
}

function majorOf(executable) {
  const { stdout } = spawnSync(executable, ['--version'], { encoding: 'utf8' })
  return Number(/^v(\d+)\./.exec(stdout ?? '')?.[1] ?? 0)
}

/** The runtime from node_modules; where that has none for this platform, the present one if it is new enough. */
function findRuntime() {
  const bundled = path.join(modules, 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (majorOf(bundled) >= NODE_MAJOR_MIN) return bundled
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) return process.execPath
  return giveUp(
    `no Node >= ${NODE_MAJOR_MIN}: ${bundled} does not run and this is ${process.version}; ` +
      `run \`npm ci\` with install scripts allowed, or install Node ${NODE_MAJOR_MIN}`,
  )
}

/** Runs a program with the terminal of this one, hands on signals, and gives its exit code as a shell would. */
function run(executable, args, cwd = process.cwd()) {
  return new Promise(resolve => {
    const child = spawn(executable, args, {
      cwd,
      stdio: 'inherit',
      env: {
        NODE_COMPILE_CACHE: compileCache,
        ...process.env,
        PATH: `${binFolder}${path.delimiter}${process.env.PATH ?? ''}`,
      },
    })
    let lastMs = Number.NEGATIVE_INFINITY
    const forward = signal => {
      // A terminal's Ctrl-C goes to the whole foreground group, so the child has it already.
      if (signal === 'SIGINT' && process.stdin.isTTY) return
      const nowMs = performance.now()
      if (nowMs - lastMs >= SIGNAL_DEBOUNCE_MS) child.kill(signal)
      lastMs = nowMs
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, forward)
    const finish = code => {
      for (const signal of signals) process.off(signal, forward)
      resolve(code)
    }
    child.on('error', error => giveUp(`cannot run ${executable}: ${error.message}`))
    child.on('exit', (code, signal) => finish(code ?? 128 + (constants.signals[signal] ?? 0)))
  })
}

/** Counts of vitest's JSON report. A file that could not even be loaded counts as one failure. */
function readCounts(reportFile) {
  const report = JSON.parse(readFileSync(reportFile, 'utf8'))
  const broken = report.testResults.filter(file => file.status === 'failed' && file.assertionResults.length === 0)
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + (report.numTodoTests ?? 0),
  }
}

async function runTests(runtime, args) {
  const tool = (...parts) => path.join(modules, ...parts)
  for (const [title, script, ...options] of [
    ['type check (tsc --noEmit)', tool('typescript', 'bin', 'tsc'), '--noEmit', '--project', root],
    ['lint and format (biome check)', tool('@biomejs', 'biome', 'bin', 'biome'), 'check', root],
  ]) {
    say(`mainstem: ${title} …`)
    const code = await run(runtime, [script, ...options], root)
    if (code !== 0) {
      say(`mainstem: ${title} failed`)
      process.stdout.write('0 passed, 1 failed, 0 skipped\n')
      return code
    }
  }
  say('mainstem: tests (vitest run) …')
  const folder = mkdtempSync(path.join(tmpdir(), 'mainstem-test-report-'))
  const reportFile = path.join(folder, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`]
  const code = await run(runtime, [tool('vitest', 'vitest.mjs'), 'run', ...reporters, ...args], root)
  let counts = { passed: 0, failed: 1, skipped: 0 }
  try {
    counts = readCounts(reportFile)
  } catch {
    say('mainstem: the tests ended without a report')
  }
  rmSync(folder, { recursive: true, force: true })
  // An error outside of any test, or no test at all, fails the run without failing a test.
  const failed = code !== 0 && counts.failed === 0 ? 1 : counts.failed
  process.stdout.write(`${counts.passed} passed, ${failed} failed, ${counts.skipped} skipped\n`)
  return failed === 0 ? code : code || 1
}

const [command, ...args] = process.argv.slice(2)
if (command === undefined) {
  say('usage: node bin/bootstrap.mjs <script>|test [args...]')
  process.exit(2)
}
if (!isInstalled()) install()
const runtime = findRuntime()
process.exitCode =
  command === 'test' ? await runTests(runtime, args) : await run(runtime, [path.resolve(root, command), ...args])
