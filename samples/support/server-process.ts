// Processes of database servers for demos and tests: started with a log, ended by signals, guarded.
//
// A server never outlives the process that opened it, however that ends: a guard (a few lines of shell) holds the other
// end of a pipe, and when the pipe closes without a word, SIGKILL included, it ends the server and removes the folder.
// Server and guard live in sessions of their own, so a Ctrl-C in the terminal does not reach them: whoever opened the
// server may still use it while shutting down.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const LOG_LINES = 10

/** A user and group to run a server as. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface Guarded {
  /** Its first line is the server's process id. */
  readonly pidFile: string
  /** What asks the server to end. */
  readonly signal: 'INT' | 'KILL'
  /** The folder to remove after that; undefined where it stays. */
  readonly folder: string | undefined
  readonly owner?: Owner | undefined
}

// $1 = file with the process id, $2 = signal, $3 = folder to remove or empty. Ends without doing anything when it reads `done`.
const GUARD = `
while read -r word; do [ "$word" = done ] && exit 0; done
if pid=$(head -n 1 "$1" 2>/dev/null) && [ -n "$pid" ]; then
  kill -s "$2" "$pid" 2>/dev/null
  n=0
  while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
  kill -s QUIT "$pid" 2>/dev/null && sleep 1
fi
[ -z "$3" ] || rm -rf "$3"
`

export function startGuard({ pidFile, signal, folder = '', owner }: Guarded): ChildProcess {
  const guard = spawn('sh', ['-c', GUARD, 'mainstem-server-guard', pidFile, signal, folder], {
    ...owner,
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Neither the guard nor its pipe keeps this process alive: that is what makes forgetting stop() harmless.
  guard.unref()
  const { stdin } = guard
  if (stdin !== null && 'unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
  stdin?.on('error', () => undefined)
  return guard
}

/** Ends the guard without its doing anything. */
export async function dismissGuard(guard: ChildProcess): Promise<void> {
  if (hasEnded(guard)) return
  const exited = once(guard, 'exit')
  guard.stdin?.end('done\n')
  guard.ref()
  await exited
}

/**
 * Runs a server's program in its folder; what it says is appended to `server.log` there.
 * @throws the system's error when the program cannot be run.
 */
export async function spawnServer(
  program: string,
  args: readonly string[],
  { folder, owner }: { readonly folder: string; readonly owner?: Owner | undefined },
): Promise<ChildProcess> {
  const log = await open(path.join(folder, 'server.log'), 'a')
  try {
    const child = spawn(program, args, {
      ...owner,
      cwd: folder,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    })
    child.unref()
    await once(child, 'spawn')
    return child
  } finally {
    await log.close()
  }
}

/** What a server said last, for the message when it does not start. */
export async function endOfLog(folder: string): Promise<string> {
  const log = await readFile(path.join(folder, 'server.log'), 'utf8').catch(() => '')
  return log.trimEnd().split('\n').slice(-LOG_LINES).join('\n')
}

export const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Sends one signal after the other, each with so many milliseconds to take effect, and SIGKILL at last. */
export async function endProcess(
  child: ChildProcess | undefined,
  steps: readonly (readonly [NodeJS.Signals, number])[],
): Promise<void> {
  if (child === undefined || hasEnded(child)) return
  const exited = once(child, 'exit').then(() => true)
  child.ref()
  for (const [signal, timeoutMs] of steps) {
    child.kill(signal)
    if (await Promise.race([exited, wait(timeoutMs, false, { ref: false })])) return
  }
  child.kill('SIGKILL')
  await exited
}
