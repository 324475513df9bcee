// A process of the bench that says a line for each that it is told, and ends when its stdin does.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { check } from '../log-data.ts'

export class Child implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(child: ChildProcess) {
    this.#child = child
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  /** A script of this folder. */
  static start(script: string, told: object, environment: Readonly<Record<string, string>> = {}): Child {
    const options = [...process.execArgv, join(import.meta.dirname, script), JSON.stringify(told)]
    const env = { ...process.env, ...environment }
    return new Child(spawn(process.execPath, options, { env, stdio: ['pipe', 'pipe', 'inherit'] }))
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    check(!done, 'a process of the bench has ended')
    return String(value)
  }

  tell(line: string): void {
    this.#child.stdin!.write(`${line}\n`)
  }

  /** Tells it something, and gives the object that its answer is. */
  async ask<T>(told: object | string): Promise<T> {
    this.tell(typeof told === 'string' ? told : JSON.stringify(told))
    return JSON.parse(await this.line()) as T
  }

  end(): void {
    this.#child.stdin!.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
  }
}
