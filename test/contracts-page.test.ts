// docs/contracts.md says nothing that does not compile, and nothing that does not work.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { application, openApplication, topic } from 'mainstem'
import { describe, expect, it } from 'vitest'
import {
  bookings,
  bookingsOfThreeVersions,
  first,
  history,
  holders,
  orders,
  purchases,
  second,
  takings,
} from './types/contracts-page.ts'

const root = resolve(import.meta.dirname, '..')

async function inFolder(run: (dataDir: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'mainstem-contracts-'))
  try {
    await run(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

describe('docs/contracts.md', () => {
  it('shows code that compiles', async () => {
    const page = await readFile(join(root, 'docs/contracts.md'), 'utf8')
    const compiled = await readFile(join(root, 'test/types/contracts-page.ts'), 'utf8')
    const shown = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code ?? '')
    expect(shown).toHaveLength(7)
    for (const code of shown) expect(compiled).toContain(code)
  })

  it('folds variants by one function and by one for each', () =>
    inFolder(async dataDir => {
      const app = application('booking', { views: [takings, holders], topics: [purchases] })
      await using running = await openApplication(app, { dataDir })
      await running.append(purchases, [{ customer: 'ada', cents: 1 }])
      const at = { show: 'hamlet', seat: 1 }
      const token = await running.append(bookings, [
        { type: 'Held', ...at, holder: 'ada' },
        { type: 'Booked', ...at, holder: 'ada', cents: 5 },
        { type: 'Held', show: 'macbeth', seat: 2, holder: 'bob' },
        { type: 'Released', show: 'macbeth', seat: 2 },
      ])
      const { views } = running.client
      expect((await views.takings.lookup(['hamlet', 'macbeth'], { after: token })).value).toEqual([
        { seats: 1, cents: 5 },
        { seats: 0, cents: 0 },
      ])
      expect((await views.holders.lookup(['ada', 'bob'])).value).toEqual([
        { held: 0, cents: 5 },
        { held: 1, cents: 0 },
      ])
    }))

  it('reads events back by key and by tag', () =>
    inFolder(async dataDir => {
      const app = application('booking', { views: [takings], topics: [orders] })
      await using running = await openApplication(app, { dataDir })
      const at = { show: 'hamlet', seat: 1, holder: 'ada' }
      await running.append(bookings, [
        { type: 'Held', ...at },
        { type: 'Held', ...at, seat: 2 },
        { type: 'Booked', ...at, cents: 5 },
      ])
      await running.append(orders, [
        { customer: 'ada', status: 'placed', labels: ['gift', 'new'] },
        { customer: 'ada', status: 'paid', labels: [] },
      ])
      expect(await history(running)).toEqual(['2: ada pays 5', '1: Held', '4: ada, placed', 'next: 3'])
    }))

  it('reads the records of three versions', () =>
    inFolder(async dataDir => {
      const key = ['show', 'seat'] as const
      const one = topic('bookings', { key, value: first })
      const two = topic('bookings', { key, value: second }).upcast(1, first, { renamed: { who: 'holder' } })
      {
        await using running = await openApplication(application('booking', { topics: [one] }), { dataDir })
        await running.append(one, [{ show: 'hamlet', seat: 1, who: 'ada', euros: 1.5 }])
      }
      {
        await using running = await openApplication(application('booking', { topics: [two] }), { dataDir })
        await running.append(two, [{ show: 'hamlet', seat: 2, holder: 'bob', euros: null }])
      }
      await using running = await openApplication(application('booking', { topics: [bookingsOfThreeVersions] }), {
        dataDir,
      })
      const known = running.log.findTopic('bookings')!
      const events: unknown[] = []
      const reader = running.log.read(0)
      for (const block of await reader.ready())
        for (const cursor = block.records(); cursor.next(); ) if (cursor.topic === known) events.push(cursor.after())
      reader.close()
      expect(events).toEqual([
        { type: 'Booked', show: 'hamlet', seat: 1, holder: 'ada', cents: 150 },
        { type: 'Held', show: 'hamlet', seat: 2, holder: 'bob' },
      ])
    }))
})
