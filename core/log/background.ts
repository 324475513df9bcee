// Where the log's jobs run: in a thread of their own, so that nobody who appends or reads waits for them, or, over a file
// system that only this thread has (tests), here. One thread a log, begun with the first job and kept; it does not keep
// the process alive but while it works. Should it die, its jobs fail, and the next one begins another.
import { Worker } from 'node:worker_threads'
import { type ErrorCode, type ErrorParts, fail, isMainstemError, textOf } from '../errors.ts'
import { type FileSystem, nodeFileSystem } from './file-system.ts'
import { type JobName, type JobTypes, jobs } from './jobs.ts'
import { closedError } from './writer.ts'

export interface Background {
  /** @throws what the job throws, or that it was broken off */
  run<K extends JobName>(job: K, input: JobTypes[K]['input']): Promise<JobTypes[K]['output']>
  /** Breaks off what runs: it rejects, and has ended when this resolves. */
  close(): Promise<void>
}

export const backgroundFor = (fs: FileSystem): Background =>
  fs === nodeFileSystem ? new WorkerBackground() : new LocalBackground(fs)

/** Runs jobs in this thread: they pause about every millisecond. */
export class LocalBackground implements Background {
  readonly #fs: FileSystem
  readonly #closed = new AbortController()
  readonly #running = new Set<Promise<unknown>>()

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  async run<K extends JobName>(job: K, input: JobTypes[K]['input']): Promise<JobTypes[K]['output']> {
    this.#closed.signal.throwIfAborted()
    const running = jobs[job](this.#fs, input, this.#closed.signal)
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  async close(): Promise<void> {
    this.#closed.abort(closedError())
    await Promise.allSettled(this.#running)
  }
}

/** What is sent to the thread. */
export interface JobRequest<K extends JobName = JobName> {
  readonly id: number
  readonly job: K
  readonly input: JobTypes[K]['input']
}

/** An error on its way between threads: ours, or what the file system said. */
interface Failure {
  readonly message: string
  readonly code: string | undefined
  readonly ours: { readonly code: ErrorCode; readonly parts: Pick<ErrorParts, 'detail' | 'hint'> } | undefined
}

export function failureOf(error: unknown): Failure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  if (!isMainstemError(error)) return { message: textOf(error), code, ours: undefined }
  const { message, detail, hint } = error
  return {
    message,
    code,
    ours: { code: error.code, parts: { ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) } },
  }
}

const errorOf = ({ message, code, ours }: Failure): Error =>
  ours ? fail(ours.code, message, ours.parts) : Object.assign(new Error(message), code === undefined ? {} : { code })

/** What it sends back. */
export type JobAnswer = { readonly id: number } & ({ readonly output: unknown } | { readonly failed: Failure })

/** Sources as Node runs them, or as they are published. */
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const WORKER = new URL(`./background-worker.${extension}`, import.meta.url)

/** What V8 may take for new objects of the thread, which lasts as long as the process; most of its memory is no objects. */
const YOUNG_MIB_MAX = 12

export class WorkerBackground implements Background {
  readonly #file: URL
  readonly #running = new Map<number, PromiseWithResolvers<unknown>>()
  #worker: Worker | undefined
  #jobs = 0
  #closed = false

  /** @param file of the thread; default: the one of the jobs */
  constructor(file: URL = WORKER) {
    this.#file = file
  }

  run<K extends JobName>(job: K, input: JobTypes[K]['input']): Promise<JobTypes[K]['output']>
  async run(job: JobName, input: JobTypes[JobName]['input']): Promise<unknown> {
    if (this.#closed) throw closedError()
    const request: JobRequest = { id: ++this.#jobs, job, input }
    const answer = Promise.withResolvers<unknown>()
    this.#worker ??= this.#begin()
    this.#worker.ref()
    this.#running.set(request.id, answer)
    this.#worker.postMessage(request)
    return answer.promise
  }

  async close(): Promise<void> {
    this.#closed = true
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
    this.#end(closedError())
  }

  #begin(): Worker {
    // The process's own options are not for it: `--input-type`, say, refuses files.
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MIB_MAX }
    const worker = new Worker(this.#file, { execArgv: [], name: 'mainstem log', resourceLimits })
    worker.on('message', (answer: JobAnswer) => this.#answered(worker, answer))
    const ended = (error: Error) => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#end(error)
    }
    worker.on('error', ended)
    worker.on('exit', code => ended(new Error(`the background thread ended with code ${code}`)))
    return worker
  }

  #answered(worker: Worker, answer: JobAnswer): void {
    const waiting = this.#running.get(answer.id)
    this.#running.delete(answer.id)
    // Not one that is being ended: who waits for its end would be left by a process with nothing else to do.
    if (this.#running.size === 0 && this.#worker === worker) worker.unref()
    if ('failed' in answer) waiting?.reject(errorOf(answer.failed))
    else waiting?.resolve(answer.output)
  }

  #end(error: Error): void {
    const waiting = [...this.#running.values()]
    this.#running.clear()
    for (const each of waiting) each.reject(error)
  }
}
