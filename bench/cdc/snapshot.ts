// All rows of a table: from the start of the engine until they are durable in our log, or delivered by the peer.
import { join } from 'node:path'
import type { Part } from '../log-data.ts'
import { Peers, whyNoPeers } from '../peers.ts'
import { Contest, ROUNDS } from './contest.ts'
import { Database, ROWS } from './database.ts'
import { debezium, SLOT } from './debezium.ts'
import { capture, checkRead } from './ours.ts'

export async function snapshot(folder: string, say: (what: string) => void): Promise<Part> {
  const reason = whyNoPeers()
  await using peers = reason === undefined ? await Peers.open(folder) : undefined
  say(`writing ${ROWS} rows`)
  await using database = await Database.open()
  const expected = await database.content()
  const contest = new Contest()
  for (let round = 1; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`)
    const ours = async () => {
      const read = await capture(database, { mode: 'snapshot', dataDir: join(folder, `snapshot-${round}`), drop: true })
      checkRead('mainstem', read, expected)
      return read
    }
    const theirs = async () => {
      const read = await debezium(peers!, folder, database, 'snapshot', ROWS)
      await database.dropSlot(SLOT)
      checkRead('Debezium', read, expected)
      return read
    }
    await contest.round(round, ours, peers && theirs)
  }
  return { goals: [contest.goal('snapshot vs Debezium', 5, reason)], figures: contest.figures('snapshot', 'rows') }
}
