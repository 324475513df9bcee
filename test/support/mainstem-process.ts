// `mainstem` as a user runs it: a process of its own, started through the launcher.
import { type ChildProcess, spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const root = resolve(import.meta.dirname, '../..')
const launcher = join(root, 'bin/mainstem.mjs')

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface SpawnOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a command to its end. */
export async function mainstem(args: readonly string[], options: SpawnOptions = {}): Promise<Finished> {
  const child = start(args, options)
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)]
  const code = await new Promise<number | null>(end => child.on('close', end))
  return { code, stdout: stdout(), stderr: stderr() }
}

const start = (args: readonly string[], { cwd, env }: SpawnOptions): ChildProcess =>
  spawn(process.execPath, [launcher, ...args], {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.on('data', chunk => {
    text += chunk
  })
  return () => text
}

export interface RunEventLine {
  readonly event: string
  readonly [field: string]: unknown
}

/** `mainstem run APP --json --port 0`, with its events. */
export class RunningApplication {
  readonly #child: ChildProcess
  readonly #stderr: () => string
  readonly #events: RunEventLine[] = []
  readonly #listeners = new Set<() => void>()
  readonly ended: Promise<number | null>

  constructor(app: string, args: readonly string[], options: SpawnOptions = {}) {
    this.#child = start(['run', app, '--json', '--port', '0', ...args], options)
    this.#stderr = collect(this.#child.stderr)
    const lines = createInterface({ input: this.#child.stdout ?? process.stdin })
    lines.on('line', line => {
      this.#events.push(JSON.parse(line) as RunEventLine)
      for (const listener of this.#listeners) listener()
    })
    this.ended = new Promise(end => {
      this.#child.on('close', code => {
        end(code)
        for (const listener of this.#listeners) listener()
      })
    })
  }

  get stderr(): string {
    return this.#stderr()
  }

  /** The first event of this kind that `where` accepts; fails when the process ends before. */
  async event(name: string, where: (event: RunEventLine) => boolean = () => true): Promise<RunEventLine> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.#events.find(event => event.event === name && where(event))
        if (!found && this.#child.exitCode === null) return
        this.#listeners.delete(look)
        if (found) resolve(found)
        else reject(new Error(`ended before ${name}: ${this.stderr}`))
      }
      this.#listeners.add(look)
      look()
    })
  }

  async url(): Promise<string> {
    return String((await this.event('listening'))['url'])
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#child.kill(signal)
    return this.ended
  }
}
