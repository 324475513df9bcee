// Clients that have gone without a word: a power cut, a pulled cable, a NAT that forgot them. What is sent to one stays with the kernel,
// which repeats it for a quarter of an hour before it gives up, and asks nothing by keep-alive probes meanwhile; a write succeeds all that
// time. Linux says of each connection how often it has repeated something without an answer (/proc/net/tcp, tcp6): where that only
// grows for too long, the connection is cut. On other systems the kernel's own limit holds.
import { readFile } from 'node:fs/promises'
import { type Socket, SocketAddress } from 'node:net'
import { endianness } from 'node:os'

export interface PeersOptions {
  readonly stallMsMax: number
  readonly peersLookMs: number
}

interface Silence {
  readonly sinceMs: number
  readonly repeats: number
}

/** A connection that has repeated something in vain. */
export interface Repeating {
  /** As `nameOf` names it. */
  readonly name: string
  readonly repeats: number
}

const TABLES = ['/proc/self/net/tcp', '/proc/self/net/tcp6']

export class Peers {
  readonly #options: PeersOptions
  /** By their names. */
  readonly #sockets = new Map<string, Socket>()
  #silent: ReadonlyMap<Socket, Silence> = new Map()
  #timer: NodeJS.Timeout | undefined
  #looking = false
  #closed = false

  constructor(options: PeersOptions) {
    this.#options = options
  }

  /** Cuts a connection when its other end has answered nothing for too long. */
  watch(socket: Socket): void {
    const name = nameOf(socket)
    if (this.#closed || socket.destroyed) return
    this.#sockets.set(name, socket)
    socket.once('close', () => {
      if (this.#sockets.get(name) === socket) this.#sockets.delete(name)
    })
    this.#timer ??= setInterval(() => void this.#look(), this.#options.peersLookMs).unref()
  }

  async #look(): Promise<void> {
    if (this.#looking || this.#sockets.size === 0) return
    this.#looking = true
    const tables = await Promise.all(TABLES.map(file => readFile(file, 'latin1').catch(() => '')))
    this.#looking = false
    const nowMs = performance.now()
    const silent = new Map<Socket, Silence>()
    for (const { name, repeats } of tables.flatMap(repeatingIn)) {
      const socket = this.#sockets.get(name)
      if (!socket) continue
      const before = this.#silent.get(socket)
      // Fewer than before: something was answered meanwhile.
      const sinceMs = before && before.repeats <= repeats ? before.sinceMs : nowMs
      if (nowMs - sinceMs >= this.#options.stallMsMax) socket.destroy()
      else silent.set(socket, { sinceMs, repeats })
    }
    this.#silent = silent
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

const nameOf = ({ localPort, remoteAddress = '', remotePort }: Socket): string =>
  `${localPort} ${remoteAddress.split('%', 1)[0]} ${remotePort}`

/** Number, local and remote address, state, queues, timer, repeats of data, user, repeats of probes. */
const LINE = /^ *\d+: [\dA-F]+:([\dA-F]{4}) ([\dA-F]+):([\dA-F]{4}) 01 \S+ \S+ ([\dA-F]{8}) +\d+ +(\d+) /

/** @param table as the kernel writes it: proc(5) */
export function repeatingIn(table: string): readonly Repeating[] {
  return table.split('\n').flatMap(line => {
    const [, local = '', address = '', port = '', data = '', probes = ''] = LINE.exec(line) ?? []
    const repeats = Number.parseInt(data, 16) + Number(probes)
    if (!(repeats > 0)) return []
    return [{ name: `${Number.parseInt(local, 16)} ${addressOf(address)} ${Number.parseInt(port, 16)}`, repeats }]
  })
}

/** Words of 32 bits, each as this machine has it in memory. */
function addressOf(hex: string): string {
  const words = hex.match(/.{8}/g) ?? []
  const bytes = words.flatMap(word => {
    const inMemory = [...Buffer.from(word, 'hex')]
    return endianness() === 'LE' ? inMemory.reverse() : inMemory
  })
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, n) => ((bytes[2 * n]! << 8) | bytes[2 * n + 1]!).toString(16))
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address
}
