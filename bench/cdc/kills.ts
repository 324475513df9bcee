// SIGKILL while a backlog is drained, again and again: what is in the log at the end is what the database did, each change once.
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Part } from '../log-data.ts'
import { CHANGES, Database } from './database.ts'
import { capture, startOurs } from './ours.ts'

const KILLS = 10
/** From the start of the process; later each time, and each time a little further into the backlog. */
const KILL_AFTER_MS = 400
const KILL_LATER_MS = 60

export async function kills(folder: string, say: (what: string) => void): Promise<Part> {
  const dataDir = join(folder, 'kills')
  await using database = await Database.open()
  await capture(database, { mode: 'snapshot', dataDir })
  const rows = await database.content()
  const expected = await database.change()
  const position = await database.lsn()
  for (let kill = 0; kill < KILLS; kill++) {
    say(`kill ${kill + 1} of ${KILLS}`)
    const child = startOurs(database, { mode: 'drain', dataDir, position })
    const exited = once(child, 'exit')
    child.stdout?.resume()
    await pause(KILL_AFTER_MS + kill * KILL_LATER_MS)
    child.kill('SIGKILL')
    await exited
  }
  const { events, hash } = await capture(database, { mode: 'drain', dataDir, position, all: true })
  const doubled = events - expected.events - rows.events
  return {
    goals: [
      {
        name: 'duplicates after kill',
        value: doubled,
        goal: 0,
        unit: 'changes',
        atMost: true,
        equal: hash === expected.hash + rows.hash,
      },
    ],
    figures: { 'kills while draining': KILLS, 'changes drained': CHANGES },
  }
}
