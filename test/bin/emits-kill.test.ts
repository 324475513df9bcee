// Events that a projection publishes, over processes that are killed with SIGKILL while appends arrive.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { RunningApplication } from '../support/mainstem-process.ts'
import { Random } from '../support/random.ts'

const APP = `import { application, projection, topic } from 'mainstem'
import { z } from 'zod'
const payments = topic('payments', { key: 'id', value: z.object({ id: z.int(), card: z.string() }) })
const verdicts = topic('verdicts', { key: 'card', value: z.object({ card: z.string(), payment: z.int(), n: z.int(), count: z.int() }) })
const cards = projection('cards', { key: z.string(), state: z.object({ count: z.int32() }), emits: [verdicts] })
  .on(payments, 'card', (card, payment, ctx) => {
    card.count++
    for (let n = 0; n < 2; n++) ctx.emit(verdicts, { card: payment.card, payment: payment.id, n, count: card.count })
  })
export default application('fraud', { views: [cards] })
`

let folder: string
let running: RunningApplication | undefined
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-emits-'))
  await writeFile(join(folder, 'app.ts'), APP)
})
afterEach(async () => {
  await running?.stop('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

async function start(): Promise<string> {
  running = new RunningApplication(join(folder, 'app.ts'), ['--data-dir', join(folder, 'data')], { cwd: folder })
  return running.url()
}

interface Page {
  readonly records: readonly { readonly value: Record<string, unknown>; readonly emittedBy: string | null }[]
  readonly next: string
  readonly end: string
}

/** All records of a topic. */
async function recordsOf(url: string, topic: string): Promise<Page['records']> {
  const records: Page['records'][number][] = []
  for (let from = '1'; ; ) {
    const page = (await (await fetch(`${url}/v1/log/${topic}?from=${from}&limit=1000`)).json()) as Page
    records.push(...page.records)
    if (Number(page.next) > Number(page.end)) return records
    from = page.next
  }
}

/** Appends payments one after the other, until the process is gone. Gives the next number. */
async function payUntilKilled(url: string, from: number, random: Random, kills: number): Promise<number> {
  let id = from
  for (;;) {
    const batch = Array.from({ length: 1 + random.int(20) }, () => ({ id: id++, card: random.pick(['a', 'b', 'c']) }))
    const body = JSON.stringify(batch)
    const sent = fetch(`${url}/v1/topics/payments`, { method: 'POST', body }).catch(() => undefined)
    if (id - from > kills) void running?.stop('SIGKILL')
    if ((await sent)?.ok !== true) {
      await running?.ended
      return id
    }
  }
}

it('are in the log once for each payment that is in it, however often the process is killed', async () => {
  const random = new Random(20261129)
  let next = 1
  for (let round = 0; round < 5; round++) next = await payUntilKilled(await start(), next, random, 50 + random.int(600))
  const url = await start()
  const payments = await recordsOf(url, 'payments')
  let verdicts = await recordsOf(url, 'verdicts')
  while (verdicts.length < 2 * payments.length) verdicts = await recordsOf(url, 'verdicts')
  const counts = new Map<unknown, number>()
  const expected = payments.flatMap(({ value: { id, card } }) => {
    const count = (counts.get(card) ?? 0) + 1
    counts.set(card, count)
    return [0, 1].map(n => ({ card, payment: id, n, count }))
  })
  expect(payments.length).toBeGreaterThan(250)
  expect(verdicts.map(({ value }) => value)).toEqual(expected)
  expect(new Set(verdicts.map(({ emittedBy }) => emittedBy))).toEqual(new Set(['cards']))
}, 60_000)
