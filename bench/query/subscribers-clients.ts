// Many subscribers in one process, on bare sockets: each checks that what it is told counts up by one. Says `ready` when all have begun,
// and when its stdin ends, what came.
import { connect, type Socket } from 'node:net'
import { LatencyCounts, latenciesOf } from './latencies.ts'

const { url, subscribers, meters } = JSON.parse(process.argv[2] ?? '') as {
  url: string
  subscribers: number
  meters: number
}
const { hostname, port } = new URL(url)
/** Sockets that connect at the same time. */
const CONNECTING = 100
const EVENT = 'event: row\n'
const READ_BYTES = 64 * 1024

let deliveries = 0
let wrong = 0
const latencies = new LatencyCounts()
const counts = new Uint32Array(subscribers)
/** Of all sockets: what is in it is read before the next one's. */
const buffer = Buffer.allocUnsafe(READ_BYTES)

/** A number of the event that begins there, without the rest of its JSON: ten thousand subscribers share a core. */
function numberOf(text: string, name: string, event: number): number {
  const at = text.indexOf(name, event) + name.length
  let end = at
  for (let code = text.charCodeAt(end); (code >= 48 && code <= 57) || code === 46; code = text.charCodeAt(end)) end++
  return Number(text.slice(at, end))
}

function take(subscriber: number, text: string): void {
  for (let at = text.indexOf(EVENT); at >= 0; at = text.indexOf(EVENT, at + 1)) {
    const count = numberOf(text, '"count":', at)
    if (count !== counts[subscriber]! + 1) wrong++
    counts[subscriber] = count
    deliveries++
    latencies.add(performance.timeOrigin + performance.now() - numberOf(text, '"atMs":', at))
  }
}

function subscribe(subscriber: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let rest = ''
    let begun = false
    const read = (bytes: number) => {
      const text = rest + buffer.toString('latin1', 0, bytes)
      const end = text.lastIndexOf('\n\n') + 2
      rest = text.slice(end < 2 ? 0 : end)
      if (end >= 2) take(subscriber, text.slice(0, end))
      if (!begun && text.includes('event: progress')) {
        begun = true
        resolve(socket)
      }
      return true
    }
    const socket = connect({ host: hostname, port: Number(port), onread: { buffer, callback: read } })
    socket.write(`GET /v1/views/meters/subscribe?keys=${subscriber % meters} HTTP/1.1\r\nhost: bench\r\n\r\n`)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`subscriber ${subscriber} has lost its connection`)))
  })
}

const sockets: Socket[] = []
for (let from = 0; from < subscribers; from += CONNECTING) {
  const group = Array.from({ length: Math.min(CONNECTING, subscribers - from) }, (_, n) => subscribe(from + n))
  sockets.push(...(await Promise.all(group)))
}
process.stdout.write('ready\n')

/** All that came, as soon as it is asked for. */
process.stdin.setEncoding('utf8').on('data', () => {
  const { p50Ms, p99Ms } = latenciesOf(latencies.entries())
  process.stdout.write(`${JSON.stringify({ deliveries, wrong, p50Ms, p99Ms })}\n`)
})
await new Promise(resolve => process.stdin.once('end', resolve))
for (const socket of sockets) socket.destroy()
