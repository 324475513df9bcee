// A server and clients of it in two network namespaces of their own, whose cable is pulled: what the server holds of them afterwards, as
// one line of JSON. Run by hostile-vanished.integration.test.ts inside of `unshare -n`, so that all of it goes with this process.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { ServerSide } from './hostile.ts'
import { openWorld } from './support.ts'

const [HERE, THERE] = ['192.0.2.1', '192.0.2.2']
const STALL_MS = 2_000
const GIVE_UP_MS = 60_000

const run = (command: string, ...args: readonly string[]) => void execFileSync(command, args)
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
async function until(isSo: () => boolean, what: string): Promise<void> {
  const giveUpMs = performance.now() + GIVE_UP_MS
  while (!isSo()) {
    if (performance.now() > giveUpMs) throw new Error(`${what} did not come about`)
    await sleep(20)
  }
}

const network = (pid: number | 'self') => readlinkSync(`/proc/${pid}/ns/net`)

/** Both ends of a cable, the other one in a namespace of its own. @returns how to run something there */
async function cable(): Promise<{ readonly inside: readonly string[]; readonly end: () => void }> {
  run('ip', 'link', 'set', 'lo', 'up')
  run('ip', 'link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there')
  const holder = spawn('unshare', ['-n', 'sleep', '300'])
  const pid = holder.pid!
  await until(() => network(pid) !== network('self'), 'a namespace')
  run('ip', 'link', 'set', 'there', 'netns', String(pid))
  const inside = ['nsenter', '-t', String(pid), '-n']
  run('ip', 'addr', 'add', `${HERE}/24`, 'dev', 'here')
  run('ip', 'link', 'set', 'here', 'up')
  run('nsenter', ...inside.slice(1), 'ip', 'addr', 'add', `${THERE}/24`, 'dev', 'there')
  run('nsenter', ...inside.slice(1), 'ip', 'link', 'set', 'there', 'up')
  return { inside, end: () => void holder.kill('SIGKILL') }
}

/** Connects there for each request, and says so when all have sent it. */
const CLIENT = `
const [host, port, ...requests] = process.argv.slice(1)
let sent = 0
for (const request of requests) {
  const socket = require('node:net').connect(Number(port), host)
  socket.write(request.replaceAll('~', '\\r\\n'), () => ++sent === requests.length && console.log('sent'))
  if (request.includes('seats')) socket.pause()
  else socket.resume()
}
setTimeout(() => {}, 600_000)
`
const HEAD = 'HTTP/1.1~host: x~'
const REQUESTS = {
  'a subscriber of whom nothing changes': `GET /v1/views/spending/subscribe?keys=nobody ${HEAD}~`,
  'a subscriber that is told changes': `GET /v1/views/spending/subscribe?keys=ada ${HEAD}~`,
  'a subscriber that reads nothing': `GET /v1/views/seats/subscribe?prefix=faust, ${HEAD}~`,
  'an export': `GET /v1/views/seats/export ${HEAD}~`,
  'a wait': `GET /v1/views/spending/rows/ada?after=99999&timeoutMs=4000 ${HEAD}connection: close~~`,
  'half a head': `GET /v1/views ${HEAD}`,
  'half a body': `POST /v1/topics/purchases ${HEAD}content-length: 99~~{`,
}

using serverSide = new ServerSide()
const { inside, end } = await cable()
await using world = await openWorld(
  undefined,
  {},
  {
    host: HERE,
    allowAnonymous: true,
    stallTimeoutMs: STALL_MS,
    headersTimeoutMs: STALL_MS,
    requestTimeoutMs: STALL_MS,
  },
  { stallMsMax: STALL_MS, peersLookMs: 200, heartbeatMs: 300, progressMs: 100 },
)
const spend = (customer: string) => world.appends.append('purchases', [{ customer, cents: 1 }])
await spend('ada')
for (let seat = 0; seat < 60; seat++)
  await world.appends.append('seatings', [
    { show: 'faust', seat, holder: 'x'.repeat(250_000), at: new Date(0), id: 1n },
  ])
await world.engine.waitFor(world.log.end, AbortSignal.timeout(GIVE_UP_MS))

const remote = () => serverSide.of(world).filter(({ remoteAddress }) => remoteAddress === THERE)
const { port } = new URL(world.url)
const child = spawn(
  inside[0]!,
  [...inside.slice(1), process.execPath, '-e', CLIENT, HERE, port, ...Object.values(REQUESTS)],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
  },
)
await once(createInterface(child.stdout), 'line')
const { subscriptions } = world.reads
await until(() => subscriptions.open === 3 && world.reads.waiting === 1, 'what clients have asked for')

// Somebody nearer, who goes on all the while.
const near: Socket = connect(Number(port), HERE)
let told = ''
near.setEncoding('latin1').on('data', piece => {
  told += piece
})
near.write('GET /v1/views/spending/subscribe?keys=eve HTTP/1.1\r\nhost: x\r\n\r\n')
await until(() => told.includes('event: progress'), 'a subscription')

run('nsenter', ...inside.slice(1), 'ip', 'link', 'set', 'there', 'down')
const pulledMs = performance.now()
let [answered, changes] = [0, 0]
while (remote().length > 0 && performance.now() - pulledMs < GIVE_UP_MS) {
  await spend('ada')
  await spend('eve')
  changes++
  if ((await fetch(`${world.url}/v1/views/spending/rows/ada`)).status === 200) answered++
  await sleep(50)
}
const goneMs = performance.now() - pulledMs
await until(() => told.split('event: row').length - 1 === changes, 'all changes')
const left = { connections: remote().length, subscriptions: subscriptions.open - 1, waiting: world.reads.waiting }
console.log(JSON.stringify({ goneMs, left, changes, answered, internalErrors: world.internalErrors.length }))
near.destroy()
child.kill('SIGKILL')
end()
