// A real process that folds in threads is killed amidst appends, and goes on with another number of shards from its last checkpoint.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { RunningApplication } from '../support/mainstem-process.ts'
import { Random } from '../support/random.ts'

const APP = join(import.meta.dirname, '../support/shards-app.ts')
const CUSTOMERS = 20

const post = async (url: string, path: string, body: unknown): Promise<Record<string, unknown>> => {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await response.json()) as Record<string, unknown>
}

it('killed and started with another number of shards, it answers as if nothing had happened', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'mainstem-shards-kill-'))
  const random = new Random(5)
  /** Of what was acknowledged. */
  const cents = new Map<string, number>()
  let id = 0
  let running: RunningApplication | undefined
  try {
    for (const shards of ['2', '3', '1', '2']) {
      const args = ['--data-dir', dataDir, '--shards', shards, '--checkpoint-interval', '20']
      running = new RunningApplication(APP, args)
      const url = await running.url()
      let token = ''
      for (let n = 0; n < 25; n++) {
        const moves = Array.from({ length: 20 }, () => {
          const [from, to] = [`customer ${random.int(CUSTOMERS)}`, `customer ${random.int(CUSTOMERS)}`]
          return { id: id++, from, to, cents: random.int(100), on: 'monday' }
        })
        token = String((await post(url, '/v1/topics/moves', moves))['token'])
        for (const move of moves) {
          cents.set(move.from, (cents.get(move.from) ?? 0) - move.cents)
          cents.set(move.to, (cents.get(move.to) ?? 0) + move.cents)
        }
      }
      const keys = [...cents.keys()]
      const read = await post(url, `/v1/views/accounts/lookup?after=${token}&timeoutMs=20000`, { keys })
      const values = read['values'] as { key: string; value: { cents: number } }[]
      expect(values.map(({ key, value }) => [key, value.cents])).toEqual([...cents])
      expect(values.reduce((sum, { value }) => sum + value.cents, 0)).toBe(0)
      await running.event('checkpoint-ended')
      await running.stop('SIGKILL')
    }
  } finally {
    await running?.stop('SIGKILL')
    await rm(dataDir, { recursive: true, force: true })
  }
}, 60_000)
