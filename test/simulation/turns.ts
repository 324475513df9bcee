// Everything that waits for a turn in a simulated process: yields of the engine, operations of its disk, messages between its shards,
// timers. A seed says who is next, and how much time passes meanwhile; nothing goes on by itself.
import type { FileSystem, Schedule } from '../../core/index.ts'
import type { Scheduler } from '../../projections/index.ts'
import type { Random } from '../support/random.ts'

interface Waiting {
  readonly what: string
  readonly go: () => void
}

export class Turns implements Scheduler {
  readonly #random: Random
  readonly #trace: (event: string) => void
  #waiting: Waiting[] = []
  #timers: { readonly atMs: number; readonly work: () => void }[] = []
  #nowMs: number
  /** Everybody goes on at once, in the order in which they came: when what comes of it is not looked at. */
  #free = false

  /** One kind of thing takes much longer than all others, or none. */
  readonly #slow: string

  constructor(random: Random, nowMs: number, trace: (event: string) => void) {
    this.#random = random
    this.#slow = random.pick(['/log/', '/views/', 'yield', 'message', 'nothing'])
    this.#nowMs = nowMs
    this.#trace = trace
  }

  /** Time passes while it is looked at, and while others have their turns. Of what is free nothing may be left to the seed. */
  nowMs(): number {
    this.#nowMs += !this.#free && this.#random.next() < 0.05 ? 1 : 0.01
    return this.#nowMs
  }

  /** The same, looked at from outside: no time passes by it. */
  get timeMs(): number {
    return this.#nowMs
  }

  yield(): Promise<void> {
    return this.take('yield')
  }

  /** Resolves when it is its turn. */
  take(what: string): Promise<void> {
    return new Promise(resolve => this.#wait({ what, go: resolve }))
  }

  after(ms: number, work: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(0, ms), work }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter(each => each !== timer)
    }
  }

  readonly schedule: Schedule = deliver => this.#wait({ what: 'message', go: deliver })

  #wait(waiting: Waiting): void {
    if (this.#free) setImmediate(waiting.go)
    else this.#waiting.push(waiting)
  }

  get idle(): boolean {
    return this.#waiting.length === 0
  }

  /** Gives one of those that wait its turn, and lets it come to rest. */
  async step(): Promise<void> {
    this.#ring()
    if (this.idle) return settled()
    const next = this.#waiting.splice(this.#nextPlace(), 1)[0]!
    this.#trace(next.what)
    if (this.#random.next() < 0.1) this.#nowMs += this.#random.int(5)
    next.go()
    await settled()
  }

  /** Those that are due wait for their turns; where nobody else does, time passes until one is. */
  #ring(): void {
    const nextMs = Math.min(...this.#timers.map(({ atMs }) => atMs))
    if (this.idle && nextMs < Number.POSITIVE_INFINITY) this.#nowMs = Math.max(this.#nowMs, nextMs)
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs)
    this.#timers = this.#timers.filter(timer => !due.includes(timer))
    for (const { work } of due) this.#wait({ what: 'timer', go: work })
  }

  #nextPlace(): number {
    const all = [...this.#waiting.keys()]
    const quick = all.filter(n => !this.#waiting[n]!.what.includes(this.#slow))
    return this.#random.pick(quick.length > 0 && this.#random.next() < 0.97 ? quick : all)
  }

  /** From here on nobody waits. */
  free(): void {
    this.#free = true
    this.#timers = []
    for (const { go } of this.#waiting.splice(0)) setImmediate(go)
  }
}

/** Two rounds of the event loop: what needs no turn has been done then. */
export async function settled(): Promise<void> {
  for (let n = 0; n < 2; n++) await new Promise(resolve => setImmediate(resolve))
}

/** A file system whose operations wait for their turns. */
export function inTurns(fs: FileSystem, turns: Turns): FileSystem {
  const turn = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    await turns.take(what)
    return work()
  }
  return {
    makeFolder: path => fs.makeFolder(path),
    list: path => turn(`list ${path}/`, () => fs.list(path)),
    space: path => fs.space(path),
    lock: path => fs.lock(path),
    rename: (from, to) => turn(`rename ${to}`, () => fs.rename(from, to)),
    remove: path => turn(`remove ${path}`, () => fs.remove(path)),
    syncFolder: path => turn(`syncFolder ${path}/`, () => fs.syncFolder(path)),
    open: async (path, mode) => {
      const file = await turn(`open ${path}`, () => fs.open(path, mode))
      return {
        read: (into, position) => turn(`read ${path}`, () => file.read(into, position)),
        write: (buffers, position) => turn(`write ${path}`, () => file.write(buffers, position)),
        datasync: () => turn(`datasync ${path}`, () => file.datasync()),
        truncate: bytes => turn(`truncate ${path}`, () => file.truncate(bytes)),
        size: () => file.size(),
        modifiedMs: () => file.modifiedMs(),
        close: () => file.close(),
      }
    },
  }
}
