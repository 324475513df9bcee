// Clients that take nothing of their answers: too slow, or gone without a word. None holds its connection, and what is written to it,
// for ever.
import type { Server } from 'node:http'

/** Cuts connections on which an answer is under way and nothing of it was taken for so long. Those that wait for theirs stay. */
export function cutStalled(server: Server, stallMs: number): void {
  // Nothing was heard and nothing was taken, not even a part of what is written. Without a request under way Node ends the connection itself.
  server.setTimeout(stallMs)
  server.on('request', (_, response) => {
    response.on('timeout', () => {
      const { socket } = response
      if (socket && socket.writableLength > 0) socket.destroy()
    })
  })
}
