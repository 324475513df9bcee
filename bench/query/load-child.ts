// The load generator: HTTP/1.1 on bare sockets, one request at a time on each. A line of stdin is a load, a line of stdout what came of it.
// Requests are made before they are sent, and answers are read where the socket puts them, so that it takes less than any server.
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { LatencyCounts } from './latencies.ts'
import type { Load } from './load.ts'

/** Requests that are made ahead, and sent again and again. */
const REQUESTS = 20_000
const READ_BYTES = 256 * 1024
/** Of all connections: an answer that came is read before the next one's. */
const buffer = Buffer.allocUnsafe(READ_BYTES)

interface Request {
  readonly bytes: Buffer
  /** With which the body of its answer begins. */
  readonly begins: Buffer
}

function requestsOf({ kind, path, keys, rows = 1 }: Load): readonly Request[] {
  let seed = 7
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const made = (head: string, begins: string, body?: string): Request => {
    const length = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${body.length}\r\n`
    return {
      bytes: Buffer.from(`${head} HTTP/1.1\r\nhost: bench\r\n${length}\r\n${body ?? ''}`),
      begins: Buffer.from(begins),
    }
  }
  return Array.from({ length: kind === 'row' ? REQUESTS : REQUESTS / 10 }, () => {
    const key = random(keys - rows)
    if (kind === 'row') return made(`GET ${path}${key}`, `{"key":${key},`)
    if (kind === 'range') return made(`GET ${path}?from=${key}&limit=${rows}`, `{"rows":[{"key":${key},`)
    const all = Array.from({ length: rows }, () => random(keys))
    return made(`POST ${path}`, `{"values":[{"key":${all[0]},`, JSON.stringify({ keys: all }))
  })
}

/** An answer has come, or something else than that. */
type Done = (connection: Connection, wrong: string | undefined) => void

class Connection {
  readonly #socket: Socket
  readonly #done: Done
  #request: Request | undefined
  /** Bytes of an answer that did not come in one piece. */
  #rest: Buffer | undefined
  /** When what is under way was to be sent. */
  dueMs = 0

  constructor(url: URL, done: Done) {
    this.#done = done
    const callback = (length: number) => {
      this.#read(buffer.subarray(0, length))
      return true
    }
    this.#socket = connect({ host: url.hostname, port: Number(url.port), onread: { buffer, callback } })
    this.#socket.setNoDelay(true)
    this.#socket.on('error', error => this.#done(this, String(error)))
  }

  send(request: Request, dueMs: number): void {
    this.#request = request
    this.dueMs = dueMs
    this.#socket.write(request.bytes)
  }

  #read(piece: Buffer): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, piece]) : piece
    const head = bytes.indexOf('\r\n\r\n')
    const length = head < 0 ? undefined : /\r\ncontent-length: *(\d+)/i.exec(bytes.toString('latin1', 0, head))?.[1]
    if (head < 0 || (length !== undefined && bytes.length < head + 4 + Number(length))) {
      this.#rest = this.#rest ? bytes : Buffer.from(bytes)
      return
    }
    this.#rest = undefined
    const { begins } = this.#request!
    const right =
      length !== undefined &&
      bytes.toString('latin1', 9, 12) === '200' &&
      bytes.length === head + 4 + Number(length) &&
      bytes.compare(begins, 0, begins.length, head + 4, head + 4 + begins.length) === 0
    this.#done(this, right ? undefined : bytes.toString('latin1', 0, 400))
  }

  close(): void {
    this.#socket.destroy()
  }
}

async function run(load: Load): Promise<object> {
  const { connections, warmupSeconds, seconds, perSecond } = load
  const requests = requestsOf(load)
  const counts = new LatencyCounts()
  let [sent, answers] = [0, 0]
  let wrong: string | undefined
  let ended = false
  const next = () => requests[sent++ % requests.length]!
  const free: Connection[] = []
  const startMs = performance.now()
  /** Those that could not be sent in time: when they were due. */
  const late: number[] = []
  const done = (connection: Connection, what: string | undefined) => {
    if (ended) return
    wrong ??= what
    const nowMs = performance.now()
    counts.add(nowMs - connection.dueMs)
    answers++
    if (perSecond === undefined) connection.send(next(), nowMs)
    else if (late.length > 0) connection.send(next(), late.shift()!)
    else free.push(connection)
  }
  const all = Array.from({ length: connections }, () => new Connection(new URL(load.url), done))
  let due = 0
  const timer =
    perSecond === undefined
      ? undefined
      : setInterval(() => {
          const nowMs = performance.now()
          for (; startMs + (due * 1_000) / perSecond <= nowMs; due++) {
            const dueMs = startMs + (due * 1_000) / perSecond
            const connection = free.pop()
            if (connection) connection.send(next(), dueMs)
            else late.push(dueMs)
          }
        }, 1)
  if (perSecond === undefined) for (const connection of all) connection.send(next(), startMs)
  else free.push(...all)
  await new Promise(resolve => setTimeout(resolve, warmupSeconds * 1_000))
  counts.clear()
  const warmup = answers
  answers = 0
  const fromMs = performance.now()
  const fromCpu = process.cpuUsage()
  await new Promise(resolve => setTimeout(resolve, seconds * 1_000))
  ended = true
  const tookSeconds = (performance.now() - fromMs) / 1_000
  const { user, system } = process.cpuUsage(fromCpu)
  clearInterval(timer)
  // What was due and is not answered has waited at least until now.
  const nowMs = performance.now()
  for (const dueMs of late) counts.add(nowMs - dueMs)
  for (const connection of all) connection.close()
  const cpuSeconds = (user + system) / 1e6
  return {
    answers,
    allAnswers: warmup + answers,
    seconds: tookSeconds,
    cpuSeconds,
    hundredths: counts.entries(),
    ...(wrong === undefined ? {} : { wrong }),
  }
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as Load))}\n`)
