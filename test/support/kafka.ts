// A real Kafka for tests and benches: one node, broker and KRaft controller, on free ports of 127.0.0.1, in a JVM of its
// own. It never outlives the process that opened it: it lives as long as its stdin, and then removes its own folder.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { textOf } from '../../core/index.ts'
import { findFreePort } from '../../samples/support/free-port.ts'
import { classPathOf, whyNoJava } from './java.ts'

const folderOfBroker = path.join(import.meta.dirname, 'kafka')

/** Between finding a free port and taking it, another process may take it. */
const PORT_ATTEMPTS_MAX = 5
/** Of what the broker said, for the message when it does not start. */
const COMPLAINT_CHARACTERS_MAX = 4000

export interface KafkaServerOptions {
  /** Settings as in server.properties, over the defaults here. */
  readonly settings?: Readonly<Record<string, string>>
  /** Where to keep the log. Then it stays after `close()`. Default: a temporary folder. */
  readonly dataDir?: string
}

export interface KafkaServer extends AsyncDisposable {
  /** As Kafka clients want them: `['127.0.0.1:PORT']`. */
  readonly brokers: readonly string[]
  /** A topic's partition N is in `TOPIC-N` in here. */
  readonly dataDir: string
  readonly pid: number
  /** Ends the broker: in order when its log stays, else at once. Calling it again is harmless. */
  close(): Promise<void>
}

/** For `describe.skipIf(await isKafkaMissing())`: fetches the jars where they are missing, and says why something is left out. */
export async function isKafkaMissing(): Promise<boolean> {
  const reason = whyNoJava() ?? (await classPathOf(folderOfBroker).then(() => undefined, textOf))
  if (reason === undefined) return false
  process.stderr.write(`skipped: no Kafka: ${reason}\n`)
  return true
}

/**
 * Starts a broker and waits until it answers: about 2 s, and once the time to download 44 MB.
 * @throws Error with the end of what the broker said when it does not start.
 */
export async function openKafka(options: KafkaServerOptions = {}): Promise<KafkaServer> {
  const reason = whyNoJava()
  if (reason !== undefined) throw new Error(`no Kafka: ${reason}`)
  const classPath = await classPathOf(folderOfBroker)
  for (let attempt = 1; ; attempt++) {
    const started = await start(classPath, options)
    if ('server' in started) return started.server
    const taken = /Address already in use|SocketException/.test(started.complaint)
    if (!taken || attempt === PORT_ATTEMPTS_MAX) throw new Error(`Kafka did not start:\n${started.complaint}`)
  }
}

async function start(classPath: string, { settings = {}, dataDir }: KafkaServerOptions) {
  const folder = await mkdtemp(path.join(tmpdir(), 'mainstem-kafka-'))
  const data = dataDir ?? path.join(folder, 'data')
  await mkdir(data, { recursive: true })
  const [port, controllerPort] = [await findFreePort(), await findFreePort()]
  const file = path.join(folder, 'server.properties')
  const all = { ...defaults(data, port, controllerPort), ...settings }
  await writeFile(
    file,
    Object.entries(all)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
  const child = spawn(
    'java',
    [
      '-Xms256m',
      '-Xmx1g',
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      '-cp',
      classPath,
      'Broker.java',
      file,
      folder,
    ],
    // A session of its own: a Ctrl-C in the terminal is for whoever opened it, and does not reach it.
    { cwd: folderOfBroker, detached: true, stdio: ['pipe', 'pipe', 'pipe'] },
  )
  let complaint = ''
  child.stderr.on('data', chunk => {
    complaint = (complaint + chunk).slice(-COMPLAINT_CHARACTERS_MAX)
  })
  child.on('error', error => {
    complaint += String(error)
  })
  const ended = once(child, 'close').then(() => undefined)
  ended.catch(() => undefined)
  const lines = createInterface({ input: child.stdout })
  const ready = await Promise.race([once(lines, 'line'), ended])
  if (ready === undefined) return { complaint }
  return { server: new RunningKafka(child, ended, port, data, dataDir !== undefined) }
}

const defaults = (data: string, port: number, controllerPort: number): Record<string, string> => ({
  'process.roles': 'broker,controller',
  'node.id': '1',
  'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
  listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
  'controller.listener.names': 'CONTROLLER',
  'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
  'log.dirs': data,
  'log.retention.ms': '-1',
  'auto.create.topics.enable': 'false',
  // One node: an internal topic that wants more replicas could never be created.
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  // Quicker first joins of groups.
  'group.initial.rebalance.delay.ms': '0',
  'offsets.topic.num.partitions': '4',
  'transaction.state.log.num.partitions': '4',
  'share.coordinator.state.topic.num.partitions': '4',
})

class RunningKafka implements KafkaServer {
  readonly brokers: readonly string[]
  readonly dataDir: string
  readonly pid: number
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  readonly #keeps: boolean

  constructor(child: ChildProcess, ended: Promise<unknown>, port: number, dataDir: string, keeps: boolean) {
    this.#child = child
    this.#ended = ended
    this.#keeps = keeps
    this.brokers = [`127.0.0.1:${port}`]
    this.dataDir = dataDir
    this.pid = child.pid ?? 0
  }

  async close(): Promise<void> {
    this.#child.stdin?.on('error', () => undefined)
    this.#child.stdin?.end(this.#keeps ? 'stop\n' : undefined)
    await this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
