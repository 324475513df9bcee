// A proxy in front of a server that ends connections in the midst of whatever the server is sending, after so many bytes of it, or lets them fall silent.

import { once } from 'node:events'
import { createServer, connect as openSocket, type Socket } from 'node:net'

export interface CuttingProxy extends AsyncDisposable {
  /** The server's url, through the proxy. */
  readonly url: string
  readonly cuts: number
  /** From here on connections are cut, each after the next of these numbers of bytes from the server; then none is any more. */
  cutAfter(bytes: readonly number[]): void
  /** Nothing comes any more by the connections there are, and nobody is told: what a dead server looks like. */
  silence(): void
  /** Connections there are end; new ones go to this server. */
  forwardTo(url: string): void
  /** What the server has sent and clients have taken. */
  readonly bytes: number
}

export async function openCuttingProxy(url: string): Promise<CuttingProxy> {
  let target = new URL(url)
  const sockets = new Set<Socket>()
  let left: number[] = []
  let cuts = 0
  let bytes = 0
  let silenced = new AbortController()
  const server = createServer(client => {
    const upstream = openSocket(Number(target.port), target.hostname)
    let seen = 0
    const { signal } = silenced
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream)
    upstream.on('data', chunk => {
      if (signal.aborted) return
      seen += chunk.length
      bytes += chunk.length
      const most = left[0]
      if (most === undefined || seen <= most) {
        if (!client.write(chunk)) {
          upstream.pause()
          client.once('drain', () => upstream.resume())
        }
        return
      }
      left = left.slice(1)
      cuts++
      // The first part of it arrives.
      client.end(chunk.subarray(0, Math.max(0, chunk.length - (seen - most))))
      upstream.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const through = new URL(url)
  through.port = String(typeof address === 'object' ? address?.port : 0)
  return {
    url: through.href,
    get cuts() {
      return cuts
    },
    cutAfter(bytes) {
      left = [...bytes]
    },
    silence() {
      silenced.abort()
      silenced = new AbortController()
    },
    forwardTo(url) {
      target = new URL(url)
      for (const socket of sockets) socket.destroy()
    },
    get bytes() {
      return bytes
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
