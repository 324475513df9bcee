// Connections on which rows are answered without Node's HTTP server, which takes several times what a row takes. A connection begins here,
// and stays while its requests are plain GETs of rows that are there, one at a time; with the first one that is not it becomes the HTTP
// server's, bytes and all, and never comes back. So nothing is lost of what HTTP may be, and a client cannot tell who answers.
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { CONNECTIONS_CHECK_MS } from '../limits.ts'
import { RequestHeads } from './request-head.ts'
import { ROW_HEADERS, type RowAnswer, type RowAnswers, VIEWS } from './row-answers.ts'

interface Limits {
  /** What a client has for its first request. */
  readonly headersTimeoutMs: number
  /** What it may let pass before its next one. */
  readonly keepAliveMs: number
}

type Handover = (socket: Socket) => void

const [TYPE, JSON_UTF8, CACHE, NO_STORE] = ROW_HEADERS
const BEGIN = `HTTP/1.1 200 OK\r\n${TYPE}: ${JSON_UTF8}\r\n${CACHE}: ${NO_STORE}\r\n`
const CLOSE = 'Connection: close\r\n'

export class DirectConnections {
  readonly #answers: RowAnswers
  readonly #limits: Limits
  readonly #handover: Handover
  readonly #all = new Set<DirectConnection>()
  readonly #sweepMs: number
  readonly #sweeper: NodeJS.Timeout
  #closing = false

  /** Stands between a server and its connections from now on. */
  constructor(server: Server, answers: RowAnswers, limits: Limits) {
    this.#answers = answers
    this.#limits = limits
    const event = server instanceof TlsServer ? 'secureConnection' : 'connection'
    // The first is Node's own.
    const [http] = server.listeners(event) as [Handover]
    this.#handover = socket => http.call(server, socket)
    server.off(event, http).on(event, (socket: Socket) => this.#add(socket))
    this.#sweepMs = Math.min(CONNECTIONS_CHECK_MS, limits.headersTimeoutMs)
    this.#sweeper = setInterval(() => this.#sweep(), this.#sweepMs).unref()
  }

  #add(socket: Socket): void {
    if (this.#closing) {
      this.#handover(socket)
      return
    }
    const keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(this.#limits.keepAliveMs / 1_000)}\r\n`
    this.#all.add(
      new DirectConnection(socket, this.#answers, keepAlive, {
        handover: this.#handover,
        ended: connection => this.#all.delete(connection),
      }),
    )
  }

  #sweep(): void {
    const { headersTimeoutMs, keepAliveMs } = this.#limits
    const [fresh, kept] = [headersTimeoutMs / this.#sweepMs, keepAliveMs / this.#sweepMs]
    for (const connection of this.#all) connection.endIdle(fresh, kept)
  }

  /** Ends those on which nothing is under way; the others end with their answer. Further connections are the HTTP server's. */
  close(): void {
    this.#closing = true
    clearInterval(this.#sweeper)
    for (const connection of this.#all) connection.close()
  }

  /** Cuts what is left. */
  destroy(): void {
    for (const connection of this.#all) connection.destroy()
  }
}

interface Owner {
  readonly handover: Handover
  /** It is not one of ours any more. */
  readonly ended: (connection: DirectConnection) => void
}

class DirectConnection {
  readonly #socket: Socket
  readonly #answers: RowAnswers
  readonly #keepAlive: string
  readonly #owner: Owner
  readonly #heads = new RequestHeads()
  /** So many times it was looked at since its last answer. */
  #idleSweeps = 0
  #answered = false
  /** An answer that shards are asked for. */
  #waits = false
  #closing = false

  constructor(socket: Socket, answers: RowAnswers, keepAlive: string, owner: Owner) {
    this.#socket = socket
    this.#answers = answers
    this.#keepAlive = keepAlive
    this.#owner = owner
    socket.on('data', this.#read).on('end', this.#end).on('error', this.#cut).on('close', this.#closed)
  }

  readonly #read = (bytes: Buffer): void => {
    const target = this.#heads.target(bytes, VIEWS)
    if (target === undefined) {
      this.#leave(bytes)
      return
    }
    const { authorization } = this.#heads.headers
    const answer = this.#answers.answer({ target, authorization, address: this.#socket.remoteAddress })
    if (answer === undefined) this.#leave(bytes)
    else if (answer instanceof Promise) void this.#await(answer, bytes)
    else this.#write(answer)
  }

  async #await(answer: Promise<RowAnswer | undefined>, bytes: Buffer): Promise<void> {
    const socket = this.#socket
    this.#waits = true
    // What is sent meanwhile is answered after it.
    socket.pause()
    const known = await answer
    this.#waits = false
    if (socket.destroyed) return
    if (known === undefined) {
      this.#leave(bytes)
      return
    }
    this.#write(known)
    if (!socket.writableNeedDrain) socket.resume()
  }

  #write({ etag, types, body, ended }: RowAnswer): void {
    const socket = this.#socket
    this.#idleSweeps = 0
    this.#answered = true
    const typed = types === undefined ? '' : `mainstem-types: ${types}\r\n`
    const connection = this.#closing ? CLOSE : this.#keepAlive
    const length = Buffer.byteLength(body)
    const text = `${BEGIN}etag: ${etag}\r\n${typed}content-length: ${length}\r\n${httpDate()}${connection}\r\n${body}`
    const done = ended && (() => ended(200))
    if (this.#closing) socket.end(text, done)
    else if (!socket.write(text, 'utf8', done)) this.#holdBack()
  }

  /** Who does not read answers gets no further ones. */
  #holdBack(): void {
    this.#socket.pause()
    this.#socket.once('drain', this.#goOn)
  }

  readonly #goOn = (): void => {
    if (!this.#waits) this.#socket.resume()
  }

  /** The HTTP server's from now on, with what was read. */
  #leave(bytes: Buffer): void {
    const socket = this.#socket
    socket.off('data', this.#read).off('end', this.#end).off('error', this.#cut).off('close', this.#closed)
    socket.off('drain', this.#goOn)
    this.#owner.ended(this)
    socket.pause()
    socket.unshift(bytes)
    this.#owner.handover(socket)
    socket.resume()
  }

  readonly #end = (): void => {
    this.#closing = true
    if (!this.#waits) this.#socket.end()
  }

  readonly #cut = (): void => {
    this.#socket.destroy()
  }

  readonly #closed = (): void => this.#owner.ended(this)

  /** Looks whether something was asked since the last look; ends it after so many looks before the first request, or after one. */
  endIdle(fresh: number, kept: number): void {
    if (!this.#waits && this.#idleSweeps++ > (this.#answered ? kept : fresh)) this.#socket.destroy()
  }

  close(): void {
    this.#closing = true
    if (!this.#waits && this.#socket.writableLength === 0) this.#socket.destroy()
    else if (!this.#waits) this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

let date: string | undefined

/** The header that says when: one text for a second, as RFC 9110 counts. */
function httpDate(): string {
  if (date === undefined) {
    const now = new Date()
    date = `Date: ${now.toUTCString()}\r\n`
    setTimeout(() => {
      date = undefined
    }, 1_000 - now.getMilliseconds()).unref()
  }
  return date
}
