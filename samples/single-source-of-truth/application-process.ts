// The application as anybody runs it: `mainstem run app.ts --json` in a process of its own, its events read line by line.
// Unlike anybody, the demo may kill it and start it again on the same data folder.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { ApplicationState, type ProcessEvent } from './application-state.ts'

/** A clean shutdown writes a checkpoint; after this long it counts as hanging. */
const STOP_TIMEOUT_MS = 30_000
/** A running application says something every second. */
const SILENCE_MS_MAX = 60_000
/** The end of its stderr, kept for the error message. */
const STDERR_CHARS_MAX = 4000

const root = path.resolve(import.meta.dirname, '../..')

/** What the application said or did; its text says all there is to say, this process' own stack nothing. */
export class ApplicationFailure extends Error {}

export interface ApplicationProcessOptions {
  /** The application's file. */
  readonly file: string
  readonly dataDir: string
  /** 0 for any free one; a restart takes the same again. */
  readonly port: number
  readonly env: Readonly<Record<string, string>>
  readonly sources: readonly string[]
  readonly onEvent: (event: ProcessEvent) => void
}

export class ApplicationProcess {
  readonly state: ApplicationState
  /** Rejects when the application ends unasked, falls silent, or says that something in it has failed. */
  readonly failure: Promise<never>
  readonly #options: ApplicationProcessOptions
  readonly #fail: (error: Error) => void
  readonly #waiters = new Set<() => void>()
  #child: ChildProcess | undefined
  #closed: Promise<unknown> = Promise.resolve()
  /** It ends because it is made to. */
  #ending = false
  #stopped = false
  #stderr = ''
  #silence: NodeJS.Timeout | undefined

  constructor(options: ApplicationProcessOptions) {
    this.#options = options
    this.state = new ApplicationState(options.sources)
    const { promise, reject } = Promise.withResolvers<never>()
    this.failure = promise
    this.#fail = reject
    promise.catch(() => undefined)
    // The last resort, where this process ends without stop().
    process.on('exit', this.#killAtOnce)
  }

  readonly #killAtOnce = () => {
    if (isAlive(this.#child)) this.#child.kill('SIGKILL')
  }

  start(): void {
    const { file, dataDir, port, env } = this.#options
    const samePort = this.state.url === undefined ? port : new URL(this.state.url).port
    const program = path.join(root, 'bin', 'mainstem.mjs')
    const args = [program, 'run', file, '--json', '--data-dir', dataDir, '--port', String(samePort)]
    // In a session of its own: a Ctrl-C in the terminal is for the demo, which still needs the application for its audit.
    const child = spawn(process.execPath, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    this.#child = child
    this.#closed = once(child, 'close').catch(() => undefined)
    this.#ending = false
    this.#stderr = ''
    this.#emit({ event: 'spawned', pid: child.pid })
    createInterface({ input: child.stdout }).on('line', line => this.#readLine(line))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS_MAX)
    })
    child.once('error', error => this.#fail(error))
    child.once('close', (code, signal) => {
      if (child === this.#child && !this.#ending)
        this.#fail(this.#describe(`ended with ${signal ?? `exit code ${code}`}`))
    })
  }

  /** SIGKILL, at once; resolves when the process is gone and the last line it wrote is read. */
  async kill(): Promise<void> {
    this.#ending = true
    this.#child?.kill('SIGKILL')
    await this.#closed
    this.#emit({ event: 'killed' })
  }

  /** SIGTERM; resolves when the process is gone. @throws when it does not end by itself with exit code 0 */
  async stop(): Promise<void> {
    this.#ending = true
    this.#stopped = true
    clearTimeout(this.#silence)
    const child = this.#child
    const alive = isAlive(child)
    if (alive) child.kill('SIGTERM')
    const timer = setTimeout(this.#killAtOnce, STOP_TIMEOUT_MS)
    await this.#closed
    clearTimeout(timer)
    process.off('exit', this.#killAtOnce)
    if (alive && child.exitCode !== 0) {
      throw this.#describe(`did not shut down cleanly (${child.signalCode ?? `exit code ${child.exitCode}`})`)
    }
  }

  /** Resolves when the condition holds, asked after every event. @throws the application's failure */
  async until(condition: (state: ApplicationState) => boolean): Promise<void> {
    if (condition(this.state)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const check = () => {
      if (condition(this.state)) resolve()
    }
    this.#waiters.add(check)
    try {
      await Promise.race([promise, this.failure])
    } finally {
      this.#waiters.delete(check)
    }
  }

  #readLine(line: string): void {
    const event = parseEvent(line)
    if (event === undefined) return
    this.#emit(event)
    if (event.event === 'source-failed' || event.event === 'view-stopped') {
      const { code, message, detail = '', hint = '' } = event
      this.#fail(this.#describe(`failed: ${code} ${message}. ${detail} ${hint}`.trimEnd()))
    }
  }

  #emit(event: ProcessEvent): void {
    clearTimeout(this.#silence)
    if (!this.#stopped) {
      const silent = () => this.#fail(this.#describe(`said nothing for ${SILENCE_MS_MAX / 1000} s`))
      this.#silence = setTimeout(silent, SILENCE_MS_MAX).unref()
    }
    this.state.apply(event)
    this.#options.onEvent(event)
    for (const check of this.#waiters) check()
  }

  #describe(what: string): Error {
    const stderr = this.#stderr.trim()
    return new ApplicationFailure(`the application ${what}${stderr === '' ? '' : `; its stderr ends with:\n${stderr}`}`)
  }
}

function isAlive(child: ChildProcess | undefined): child is ChildProcess {
  return child?.pid !== undefined && child.exitCode === null && child.signalCode === null
}

/** A killed process may leave half a line behind; that says nothing. */
function parseEvent(line: string): ProcessEvent | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return isEvent(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The lines are what `mainstem run --json` promises to print (`RunEvent`). */
const isEvent = (value: unknown): value is ProcessEvent =>
  typeof value === 'object' && value !== null && 'event' in value && typeof value.event === 'string'
