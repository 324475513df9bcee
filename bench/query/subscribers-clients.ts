// Many subscribers in one process, on bare sockets: each checks that what it is told counts up by one. Says `ready` when all have begun,
// and when its stdin ends, what came.
import { connect, type Socket } from 'node:net'

const { url, subscribers, meters } = JSON.parse(process.argv[2] ?? '') as {
  url: string
  subscribers: number
  meters: number
}
const { hostname, port } = new URL(url)
/** Sockets that connect at the same time. */
const CONNECTING = 100
const EVENT = 'event: row\ndata: '

let deliveries = 0
let wrong = 0
/** Of deliveries, by tenths of a millisecond. */
const latencies = new Uint32Array(100_000)
const counts = new Uint32Array(subscribers)

function take(subscriber: number, text: string): void {
  for (let at = text.indexOf(EVENT); at >= 0; at = text.indexOf(EVENT, at + 1)) {
    const { value } = JSON.parse(text.slice(at + EVENT.length, text.indexOf('\n', at + EVENT.length))) as {
      value: { count: number; atMs: number }
    }
    if (value.count !== counts[subscriber]! + 1) wrong++
    counts[subscriber] = value.count
    deliveries++
    const tenths = Math.round((performance.timeOrigin + performance.now() - value.atMs) * 10)
    latencies[Math.max(0, Math.min(latencies.length - 1, tenths))]!++
  }
}

function subscribe(subscriber: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    let rest = ''
    let begun = false
    socket.setEncoding('latin1').setNoDelay(true)
    socket.write(`GET /v1/views/meters/subscribe?keys=${subscriber % meters} HTTP/1.1\r\nhost: bench\r\n\r\n`)
    socket.on('data', (piece: string) => {
      const text = rest + piece
      const end = text.lastIndexOf('\n\n') + 2
      rest = text.slice(end)
      if (end > 1) take(subscriber, text.slice(0, end))
      if (begun || !text.includes('event: progress')) return
      begun = true
      resolve(socket)
    })
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
  process.stdout.write(`${JSON.stringify({ deliveries, wrong, p50Ms: quantile(0.5), p99Ms: quantile(0.99) })}\n`)
})
await new Promise(resolve => process.stdin.once('end', resolve))
for (const socket of sockets) socket.destroy()

function quantile(share: number): number {
  let left = deliveries * share
  for (const [tenths, count] of latencies.entries()) {
    left -= count
    if (left <= 0) return tenths / 10
  }
  return Number.NaN
}
