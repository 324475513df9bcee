// What tests of hostile clients have in common: a server's connections seen from its side, a client that says just what it is told to,
// another one that must be answered all the while, and what must be as before when all have gone.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { scheduler } from 'node:timers/promises'
import { expect } from 'vitest'
import { ERRORS, type ErrorCode } from '../../core/index.ts'
import type { World } from './support.ts'

/** How fast a slow client is: nothing is waited for. */
export const pace = (ms: number): Promise<void> => scheduler.wait(ms)

const portOf = ({ url }: Pick<World, 'url'>): number => Number(new URL(url).port)

/** The connections that servers of this process have taken, from now on. */
export class ServerSide implements Disposable {
  readonly #sockets = new Set<Socket>()

  constructor() {
    subscribe('net.server.socket', this.#add)
  }

  readonly #add = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket }
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  /** Those of one server that are open. */
  of(world: Pick<World, 'url'>): readonly Socket[] {
    return [...this.#sockets].filter(({ localPort }) => localPort === portOf(world))
  }

  [Symbol.dispose](): void {
    unsubscribe('net.server.socket', this.#add)
  }
}

/** Sends bytes as they are, and reads when it is told to. */
export class RawClient {
  readonly socket: Socket
  text = ''

  /** @param allowHalfOpen it does not end its side when the server has ended its own */
  constructor(world: Pick<World, 'url'>, allowHalfOpen = false) {
    this.socket = connect({ port: portOf(world), host: '127.0.0.1', allowHalfOpen })
    this.socket.setNoDelay(true).setEncoding('latin1')
    this.socket
      .on('error', () => {})
      .on('data', piece => {
        this.text += piece
      })
  }

  send(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  get(path: string, headers = ''): this {
    return this.send(`GET ${path} HTTP/1.1\r\nhost: test\r\n${headers}\r\n`)
  }

  /** Resolves when what came looks so. */
  async until(text: RegExp): Promise<void> {
    while (!text.test(this.text)) await once(this.socket, 'data', { signal: AbortSignal.timeout(30_000) })
  }

  /** Resolves when the server has ended the connection. */
  async ended(): Promise<void> {
    if (!this.socket.closed) await once(this.socket, 'close', { signal: AbortSignal.timeout(30_000) })
  }
}

/** Reads a row again and again, on a connection of its own, while something else is done; each must be answered. */
export async function whileAnswered<T>(world: World, path: string, work: () => Promise<T>): Promise<T> {
  let over = false
  let answered = 0
  const reading = (async () => {
    while (!over) {
      const response = await fetch(world.url + path, { signal: AbortSignal.timeout(30_000) })
      await response.arrayBuffer()
      expect(response.status).toBe(200)
      answered++
      await new Promise(resolve => setImmediate(resolve))
    }
  })()
  try {
    const done = await Promise.race([work(), reading.then(() => new Promise<never>(() => {}))])
    const before = answered
    await expect.poll(() => answered).toBeGreaterThan(before)
    return done
  } finally {
    over = true
    await reading
  }
}

/** A problem as every refusal is: with a code of the table, under its status, of the path that was asked for. */
export function expectProblem(reply: { readonly status: number; readonly body: object }, path: string): ErrorCode {
  const { code, status, title, instance } = reply.body as Readonly<Record<string, unknown>>
  expect(Object.hasOwn(ERRORS, String(code)), `${path} is ${reply.status} ${code}`).toBe(true)
  expect([reply.status, status], `${path} is ${code}`).toEqual([ERRORS[code as ErrorCode].status, reply.status])
  expect(title, path).toMatch(/./)
  if (instance !== undefined) expect(instance).toBe(path.split('?', 1)[0])
  return code as ErrorCode
}

/** Nothing is held for anybody any more. */
export async function expectNothingLeft(world: World, serverSide?: ServerSide, connections = 0): Promise<void> {
  await expect.poll(() => [world.reads.subscriptions.open, world.reads.waiting]).toEqual([0, 0])
  if (serverSide) await expect.poll(() => serverSide.of(world).length).toBe(connections)
  expect(world.internalErrors).toEqual([])
}
