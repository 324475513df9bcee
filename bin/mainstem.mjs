#!/usr/bin/env node
// The command `mainstem`. Plain JavaScript that old versions of Node can read, because it has to say, or do, something
// about them: the command line itself needs Node 24, which this package's `node` dependency may bring along.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { constants } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NODE_MAJOR_MIN = 24
/** Everything that a start needs has been loaded then. */
const CACHED_AFTER_MS = 5_000
const folder = path.dirname(fileURLToPath(import.meta.url))

const majorOf = version => Number(version.replace(/^v/, '').split('.')[0])

/** The binary of the npm package `node`, where it is installed beside this package and new enough. */
function bundledNode() {
  try {
    const manifest = nodeModule.createRequire(import.meta.url).resolve('node/package.json')
    if (majorOf(JSON.parse(readFileSync(manifest, 'utf8')).version) < NODE_MAJOR_MIN) return undefined
    const binary = path.join(path.dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    return existsSync(binary) ? binary : undefined
  } catch {
    return undefined
  }
}

/** Runs this file again on another Node, with this one's terminal, and ends as it ends. */
function runOn(binary) {
  const child = spawn(binary, [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, MAINSTEM_RELAUNCHED: '1' },
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal's Ctrl-C goes to the whole foreground group, so the child has it already.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('error', error => {
    process.stderr.write(`mainstem: cannot run ${binary}: ${error.message}\n`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => process.exit(code === null ? 128 + (constants.signals[signal] || 0) : code))
}

/** The sources in a checkout, JavaScript in the published package. */
function mainFile() {
  const source = path.join(folder, 'cli', 'main.ts')
  return existsSync(source) ? source : path.join(folder, 'cli', 'main.js')
}

async function start() {
  // A command line is started often: compiled code, and types stripped, are kept for the next time.
  nodeModule.enableCompileCache()
  // Otherwise a process that is killed leaves nothing of it.
  setTimeout(() => nodeModule.flushCompileCache(), CACHED_AFTER_MS).unref()
  await import('./resolve-hook.mjs')
  const { main } = await import(pathToFileURL(mainFile()).href)
  process.exitCode = await main(process.argv)
}

if (majorOf(process.version) >= NODE_MAJOR_MIN) {
  await start()
} else {
  const binary = process.env.MAINSTEM_RELAUNCHED ? undefined : bundledNode()
  if (binary) runOn(binary)
  else {
    process.stderr.write(
      `mainstem needs Node ${NODE_MAJOR_MIN} or newer; this is ${process.version}.\n  → install it, or \`npm install node@${NODE_MAJOR_MIN}\` beside mainstem: it is then used by itself\n`,
    )
    process.exitCode = 1
  }
}
