// Random commands from several clients on few streams, over processes that are killed with SIGKILL and start with another number of
// shards; then all that was answered is compared with a model that decides one command after the other in the order of the log.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { RunningApplication } from '../support/mainstem-process.ts'
import { Random } from '../support/random.ts'

const APP = join(import.meta.dirname, '../support/wallets-app.ts')
const SEED = Number(process.env['SEED'] ?? 20261130)
const CLIENTS = 6
const STREAMS = 9

interface Event {
  readonly type: 'Paid' | 'Drawn'
  readonly id: string
  readonly cents: number
  readonly seen: number
}

interface Sent {
  readonly stream: string
  readonly command: { readonly type: string; readonly id: string; readonly cents?: number }
  readonly keyed: boolean
  readonly expected: number | undefined
  status?: number
  /** Of each time that an answer came. */
  readonly answers: Record<string, unknown>[]
}

const wanted = (random: Random, id: string): Sent['command'] => {
  const kind = random.int(10)
  if (kind < 4) return { type: 'pay', id, cents: 1 + random.int(100) }
  if (kind < 8) return { type: 'draw', id, cents: 1 + random.int(120) }
  return { type: kind === 8 ? 'empty' : 'touch', id }
}

/** Sends a command once; false where no answer came. */
async function send(url: string, sent: Sent): Promise<boolean> {
  const headers: Record<string, string> = {
    ...(sent.keyed ? { 'idempotency-key': sent.command.id } : {}),
    ...(sent.expected === undefined ? {} : { 'if-match': `"${sent.expected}"` }),
  }
  const body = JSON.stringify(sent.command)
  try {
    const response = await fetch(`${url}/v1/commands/wallets/${sent.stream}`, { method: 'POST', body, headers })
    const answer = (await response.json()) as Record<string, unknown>
    if (response.status === 503) return false
    sent.status = response.status
    sent.answers.push(answer)
    return true
  } catch {
    return false
  }
}

/** One client: sends, now and then twice, and reads what it wrote; until the process is gone. */
async function client(url: string, random: Random, name: string, sents: Sent[], done: () => boolean): Promise<void> {
  const versions = new Map<string, number>()
  while (!done()) {
    const stream = `wallet ${random.int(STREAMS)}`
    const known = versions.get(stream)
    const sent: Sent = {
      stream,
      command: wanted(random, `${name}-${sents.length}`),
      keyed: random.int(3) > 0,
      expected: known !== undefined && random.int(4) === 0 ? known : undefined,
      answers: [],
    }
    sents.push(sent)
    const twice = sent.keyed && random.int(4) === 0
    const came = await Promise.all([send(url, sent), ...(twice ? [send(url, sent)] : [])])
    if (!came.every(Boolean)) return
    const { version, token } = sent.answers[0] ?? {}
    if (typeof version === 'number') versions.set(stream, version)
    if (sent.status !== 200 || random.int(5) > 0) continue
    const row = await fetch(`${url}/v1/views/wallets/rows/${encodeURIComponent(stream)}?after=${String(token)}`).catch(
      () => undefined,
    )
    const read = (await row?.json().catch(() => undefined)) as { value?: { events: number } } | undefined
    if (row?.status === 200) expect(read?.value?.events).toBeGreaterThanOrEqual(Number(version))
  }
}

/** All events in the order of the log, by stream. */
async function eventsOf(url: string): Promise<Map<string, Event[]>> {
  const streams = new Map<string, Event[]>()
  for (let from = '1'; ; ) {
    const page = (await (await fetch(`${url}/v1/log/wallets?from=${from}&limit=1000`)).json()) as {
      records: readonly { readonly key: string; readonly value: Event & { readonly key: string } }[]
      next: string
      end: string
    }
    for (const { key, value } of page.records) {
      const { key: _, ...event } = value
      streams.set(key, [...(streams.get(key) ?? []), event])
    }
    if (Number(page.next) > Number(page.end)) return streams
    from = page.next
  }
}

interface Wallet {
  cents: number
  events: number
  digest: number
  ids: string[]
}

/** What a stream's first events come to. */
function walletAt(events: readonly Event[], version: number): Wallet {
  const wallet: Wallet = { cents: 0, events: 0, digest: 0, ids: [] }
  for (const { type, cents, id } of events.slice(0, version)) {
    wallet.cents += type === 'Paid' ? cents : -cents
    wallet.events++
    wallet.digest = (wallet.digest * (type === 'Paid' ? 31 : 37) + cents) % 1_000_003
    wallet.ids = [...wallet.ids.slice(-3), id]
  }
  return wallet
}

/** What the model makes of a command on a stream as it was at a version. */
function decided({ type, id, cents = 0 }: Sent['command'], wallet: Wallet): readonly Event[] | 'overdrawn' {
  const seen = wallet.events
  if (type === 'pay') return [{ type: 'Paid', id, cents, seen }]
  if (type === 'draw') return wallet.cents < cents ? 'overdrawn' : [{ type: 'Drawn', id, cents, seen }]
  if (type === 'touch') return []
  const half = Math.floor(wallet.cents / 2)
  const parts = [half, wallet.cents - half].filter(part => part > 0)
  return parts.map(part => ({ type: 'Drawn', id, cents: part, seen }))
}

/** Compares an answer with the model. */
function check(sent: Sent, events: readonly Event[]): void {
  const [answer] = sent.answers
  for (const again of sent.answers) {
    const { instance: _, ...rest } = again
    const { instance: __, ...first } = answer!
    expect(rest).toEqual(first)
  }
  const version = Number(answer?.['version'])
  if (sent.status === 409) {
    expect(answer).toMatchObject({ code: 'VERSION_CONFLICT', expected: sent.expected })
    expect(version).not.toBe(sent.expected)
    return
  }
  const came = (answer?.['events'] ?? []) as readonly Event[]
  const before = version - came.length
  if (sent.expected !== undefined) expect(before).toBe(sent.expected)
  const model = decided(sent.command, walletAt(events, before))
  if (sent.status === 422) expect([answer?.['refused'], model]).toEqual(['overdrawn', 'overdrawn'])
  else expect([sent.status, came, events.slice(before, version)]).toEqual([200, model, model])
}

it(`commands under kills are as if decided one after the other (seed ${SEED})`, async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'mainstem-commands-kill-'))
  const random = new Random(SEED)
  const sents: Sent[] = []
  let running: RunningApplication | undefined
  const start = async (shards: string) => {
    running = new RunningApplication(APP, ['--data-dir', dataDir, '--shards', shards, '--checkpoint-interval', '50'])
    return running.url()
  }
  try {
    for (const shards of ['2', '1', '3']) {
      const url = await start(shards)
      // What was not answered, and is under a key, is sent again.
      const open = sents.filter(({ keyed, answers }) => keyed && answers.length === 0)
      expect(await Promise.all(open.map(sent => send(url, sent)))).not.toContain(false)
      // And some of what was: nothing comes of it.
      const some = sents.filter(({ keyed, status }) => keyed && status !== 409 && random.int(10) === 0)
      expect(await Promise.all(some.map(sent => send(url, sent)))).not.toContain(false)
      const until = sents.length + 250 + random.int(250)
      let killed = false
      const done = () => {
        if (sents.length >= until && !killed) {
          killed = true
          void running?.stop('SIGKILL')
        }
        return killed
      }
      await Promise.all(
        Array.from({ length: CLIENTS }, (_, n) =>
          client(url, new Random(random.int(2 ** 31)), `${shards}${n}`, sents, done),
        ),
      )
      await running?.ended
    }
    const url = await start('2')
    const open = sents.filter(({ keyed, answers }) => keyed && answers.length === 0)
    expect(await Promise.all(open.map(sent => send(url, sent)))).not.toContain(false)
    const streams = await eventsOf(url)
    for (const sent of sents) if (sent.answers.length > 0) check(sent, streams.get(sent.stream) ?? [])
    // Every event is of one command, which was decided once, on the version before it.
    const ids = new Set(sents.map(({ command }) => command.id))
    const owned = new Map<string, string>()
    for (const [stream, events] of streams) {
      let begin = 0
      for (const [n, { id, seen }] of events.entries()) {
        if (events[n - 1]?.id !== id) begin = n
        expect(ids.has(id)).toBe(true)
        if (begin === n) expect(owned.has(id)).toBe(false)
        owned.set(id, stream)
        expect(seen).toBe(begin)
      }
    }
    const kinds = new Map<number | undefined, number>()
    for (const { status } of sents) kinds.set(status, (kinds.get(status) ?? 0) + 1)
    for (const status of [200, 422, 409]) expect(kinds.get(status)).toBeGreaterThan(10)
    const end = (await (await fetch(`${url}/v1/log`)).json()) as { end: string }
    const keys = [...streams.keys()]
    const body = JSON.stringify({ keys })
    const lookup = await fetch(`${url}/v1/views/wallets/lookup?after=${end.end}`, { method: 'POST', body })
    const { values } = (await lookup.json()) as { values: { key: string; value: Wallet }[] }
    expect(values).toEqual(keys.map(key => ({ key, value: walletAt(streams.get(key)!, Number.POSITIVE_INFINITY) })))
    const total = (await (await fetch(`${url}/v1/views/totals/rows/all`)).json()) as { value: object }
    const cents = values.reduce((sum, { value }) => sum + value.cents, 0)
    expect(total.value).toEqual({ cents, events: values.reduce((sum, { value }) => sum + value.events, 0) })
  } finally {
    await running?.stop('SIGKILL')
    await rm(dataDir, { recursive: true, force: true })
  }
}, 120_000)
