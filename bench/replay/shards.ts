// A second core: the orders in two threads against one, by the clock on the wall.
import type { Part } from '../log-data.ts'
import { replay, sealedLog } from './ours.ts'
import { COMPACT_EVENTS } from './peers.ts'
import { type Comparison, Contest, type Side } from './versus.ts'

const ROUNDS = 5
const COMPARISONS: readonly Comparison[] = [
  { name: 'two shards vs one', goal: 1.6, ours: 'two shards', theirs: 'one shard', by: 'wall' },
]

export async function shards(folder: string, say: (what: string) => void): Promise<Part> {
  const [work, app, events] = ['orders', 'handler', COMPACT_EVENTS] as const
  const dataDir = await sealedLog(folder, work, events)
  const side = (name: string, count: number): Side => ({
    name,
    work,
    events,
    run: () => replay({ work, app, dataDir, shards: count, events }),
  })
  const contest = new Contest([side('one shard', 1), side('two shards', 2)])
  await contest.measure(ROUNDS, say)
  return { goals: contest.goals(COMPARISONS), figures: contest.figures(COMPARISONS) }
}
