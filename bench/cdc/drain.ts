// Changes that were written while nobody read them: from the start of the engine until all are durable in our log, or delivered by the peer.
import { join } from 'node:path'
import type { Part } from '../log-data.ts'
import { Peers, whyNoPeers } from '../peers.ts'
import { Contest, ROUNDS } from './contest.ts'
import { CHANGES, Database } from './database.ts'
import { debezium, SLOT } from './debezium.ts'
import { capture, checkRead } from './ours.ts'

/** What our process may hold of its own. */
const ANON_MIB_MAX = 200

export async function drain(folder: string, say: (what: string) => void): Promise<Part> {
  const reason = whyNoPeers()
  await using peers = reason === undefined ? await Peers.open(folder) : undefined
  const dataDir = join(folder, 'drain')
  say('snapshot')
  await using database = await Database.open()
  await capture(database, { mode: 'snapshot', dataDir })
  if (peers) await database.createSlot(SLOT)
  const contest = new Contest()
  for (let round = 1; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}: ${CHANGES} changes`)
    const expected = await database.change()
    const position = await database.lsn()
    const ours = async () => {
      const read = await capture(database, { mode: 'drain', dataDir, position })
      checkRead('mainstem', read, expected)
      return read
    }
    const theirs = async () => {
      const read = await debezium(peers!, folder, database, 'drain', CHANGES)
      // It has confirmed nothing yet when it ends.
      await database.advanceSlot(SLOT)
      checkRead('Debezium', read, expected)
      return read
    }
    await contest.round(round, ours, peers && theirs)
  }
  const anonMib = contest.anonBytesMax / 2 ** 20
  return {
    goals: [
      contest.goal('drain vs Debezium', 4, reason),
      { name: 'anonymous memory', value: anonMib, goal: ANON_MIB_MAX, unit: 'MiB', atMost: true, equal: null },
    ],
    figures: contest.figures('drain', 'changes'),
  }
}
