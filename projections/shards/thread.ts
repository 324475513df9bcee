// A worker thread that is spoken to through a channel. However it ends, whoever speaks to it is told why in a typed error: what it
// could not load, what it threw, that its memory ran out, that it went away. Relies on the thread's own file to say `started`
// (announceStart) and to speak over the channel only.
import { type MessagePort, parentPort, type ResourceLimits, Worker } from 'node:worker_threads'
import {
  asMainstemError,
  type Channel,
  type ErrorReport,
  errorOf,
  fail,
  isMainstemError,
  type MainstemError,
  reportOf,
  textOf,
} from '../../core/index.ts'

export interface ThreadOptions<Received> {
  readonly file: URL
  /** For messages, and as the thread's name. */
  readonly name: string
  /** Plain data, with the ports of `transfer` in it. */
  readonly data: object
  readonly transfer: readonly MessagePort[]
  /** To the thread: the other end of one of the ports. */
  readonly channel: Channel<unknown, Received>
  /** What is received in the place of an end that nobody asked for, before the channel closes. */
  readonly failed: (error: MainstemError) => Received
  /** Default: Node's own, which are those of the process. */
  readonly resourceLimits?: ResourceLimits
}

/** What a thread says about its start. */
type Start = { readonly started: true } | { readonly failed: ErrorReport }

export class Thread<Sent, Received> {
  readonly #options: ThreadOptions<Received>
  readonly #worker: Worker
  readonly #start = Promise.withResolvers<void>()
  readonly #exited = Promise.withResolvers<void>()
  readonly #failed = Promise.withResolvers<MainstemError>()
  #failure: MainstemError | undefined
  #terminated = false

  constructor(options: ThreadOptions<Received>) {
    this.#options = options
    const { file, data, transfer, name, resourceLimits } = options
    this.#worker = new Worker(file, {
      name: `mainstem ${name}`,
      workerData: data,
      transferList: [...transfer],
      execArgv: loadingOptions(process.execArgv),
      ...(resourceLimits ? { resourceLimits } : {}),
    })
    this.#worker.on('message', (start: Start) => {
      if ('started' in start) this.#start.resolve()
      else this.#fail(errorOf(start.failed))
    })
    this.#worker.on('error', error => this.#fail(this.#errorOf(error)))
    this.#worker.on('exit', code => this.#ended(code))
    this.#start.promise.catch(() => {})
  }

  /** Resolves when the thread does what it is for. @throws what kept it from that */
  get started(): Promise<void> {
    return this.#start.promise
  }

  get channel(): Channel<Sent, Received> {
    const { channel, failed } = this.#options
    return {
      post: (message, transfer) => channel.post(message, transfer),
      close: () => channel.close(),
      listen: (onMessage, onClose) =>
        channel.listen(onMessage, async () => {
          // The end of the channel comes before the reason for it.
          await this.#exited.promise
          if (this.#failure) onMessage(failed(this.#failure))
          onClose?.()
        }),
    }
  }

  /** Resolves with the reason when it cannot start, or ends though nobody asked it to. */
  get failed(): Promise<MainstemError> {
    return this.#failed.promise
  }

  /** Resolves when the thread has ended, by itself or otherwise. */
  get ended(): Promise<void> {
    return this.#exited.promise
  }

  /** Ends it at once, whatever it does. */
  async terminate(): Promise<void> {
    this.#terminated = true
    await this.#worker.terminate()
  }

  #errorOf(error: unknown): MainstemError {
    if (isMainstemError(error)) return error
    const { name } = this.#options
    if (error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY') {
      return fail('SHARD_FAILED', `${name} ran out of memory`, {
        detail: error.message,
        hint: 'give the process more (NODE_OPTIONS=--max-old-space-size=…), or lower stateBytesMax: the view that is too large then stops alone',
      })
    }
    return fail('SHARD_FAILED', `${name} has failed`, { detail: textOf(error), cause: error })
  }

  #ended(code: number): void {
    if (!this.#terminated)
      this.#fail(fail('SHARD_FAILED', `${this.#options.name} has ended`, { detail: `code ${code}` }))
    this.#start.reject(fail('SHUTTING_DOWN', `${this.#options.name} was ended`))
    this.#exited.resolve()
  }

  /** The first reason counts: the others follow from it. */
  #fail(error: MainstemError): void {
    this.#failure ??= error
    this.#failed.resolve(this.#failure)
    this.#start.reject(this.#failure)
  }
}

/** Said by the thread: it does what it is for. */
export function announceStart(): void {
  const start: Start = { started: true }
  parentPort?.postMessage(start)
}

/** Said by the thread: it cannot. */
export function announceFailure(error: unknown): void {
  const start: Start = { failed: reportOf(asMainstemError(error, 'SHARD_FAILED', 'a shard cannot start')) }
  parentPort?.postMessage(start)
}

const LOADING = /^(?:--import|--require|-r|--conditions|-C|--experimental-loader|--loader)(=|$)/
const QUIET = /^--(?:no-warnings|disable-warning=.*|enable-source-maps)$/

/** The process's own options that say how modules are loaded; others (`--input-type`, say) refuse files, or are not for threads. */
export function loadingOptions(options: readonly string[]): string[] {
  const taken: string[] = []
  for (let n = 0; n < options.length; n++) {
    const option = options[n]!
    const loading = LOADING.exec(option)
    if (!loading && !QUIET.test(option)) continue
    taken.push(option)
    if (loading?.[1] === '' && options[n + 1] !== undefined) taken.push(options[++n]!)
  }
  return taken
}
