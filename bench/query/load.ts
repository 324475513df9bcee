// The load generator, as the parts of `bench query` use it: a process of its own, which says how many answers came, and after how long.
import { Child } from './child.ts'
import { type Latencies, latenciesOf } from './latencies.ts'

/** What is asked for: requests in a row, the same ones each time, over random keys. */
export interface Load {
  /** Of the server. */
  readonly url: string
  /** One row, many by their keys in a body, or a page of a range; a path without the key or the bounds. */
  readonly kind: 'row' | 'lookup' | 'range'
  readonly path: string
  /** There are keys from 0 to one below. */
  readonly keys: number
  /** Of each lookup or page. Default 1. */
  readonly rows?: number
  /** One request at a time on each; no pipelining. */
  readonly connections: number
  readonly warmupSeconds: number
  readonly seconds: number
  /** Requests that are due in a second, whether or not others were answered. Default: the next one with each answer. */
  readonly perSecond?: number
}

export interface Loaded extends Latencies {
  /** Within `seconds`. */
  readonly answers: number
  /** Those of the warm-up too. */
  readonly allAnswers: number
  readonly perSecond: number
  /** Of the generator: a whole core says that it, and not the server, is measured. */
  readonly cpuShare: number
}

interface Told {
  readonly answers: number
  readonly allAnswers: number
  readonly seconds: number
  readonly cpuSeconds: number
  /** Of those that were not as they must be, the first. */
  readonly wrong?: string
  /** Answers by hundredths of a millisecond. */
  readonly hundredths: readonly (readonly [hundredths: number, count: number])[]
}

export class LoadGenerator implements AsyncDisposable {
  readonly #child = Child.start('load-child.ts', {})

  async run(load: Load): Promise<Loaded> {
    const { answers, allAnswers, seconds, cpuSeconds, wrong, hundredths } = await this.#child.ask<Told>(load)
    if (wrong !== undefined) throw new Error(`${load.url}${load.path} answered ${wrong}`)
    return {
      answers,
      allAnswers,
      perSecond: answers / seconds,
      cpuShare: cpuSeconds / seconds,
      ...latenciesOf(hundredths),
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#child[Symbol.asyncDispose]()
  }
}
