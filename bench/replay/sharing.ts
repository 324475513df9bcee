// Eight views in one scan of the log, and each alone in a process of its own: what it costs them to share a scan and a helper function.
import { median } from '../harness.ts'
import { type Part, scaled } from '../log-data.ts'
import { ALONE, TOGETHER } from './eight-views.ts'
import { replay, sealedLog } from './ours.ts'
import { Contest, type Side } from './versus.ts'

const EVENTS = scaled(4_000_000, 1_000)
const ROUNDS = 5
/** Each record is of one of four contracts, and each contract has two views. */
const CALLS_PER_RECORD = 2

/** Eight views in one scan, against the sum of eight scans of one. */
export async function eightViews(folder: string, say: (what: string) => void): Promise<Part> {
  const work = 'eight-views'
  say(`writing ${EVENTS / 1e6} M events`)
  const dataDir = await sealedLog(folder, work, EVENTS)
  const sides = [...ALONE, TOGETHER].map(
    (app): Side => ({
      name: app,
      work,
      app,
      events: EVENTS,
      run: () => replay({ work, app, dataDir, events: EVENTS }),
    }),
  )
  const contest = new Contest(sides)
  await contest.measure(ROUNDS, say)
  const rates = (app: string): readonly number[] => contest.rates(app)
  const ratios = rates(TOGETHER).map((together, round) => {
    const apart = ALONE.reduce((sum, app) => sum + 1 / rates(app)[round]!, 0)
    return 1 / together / apart
  })
  const perSecond = median(rates(TOGETHER))
  const name = '8 views, slowdown against each alone'
  return {
    goals: [{ name, value: median(ratios), goal: 2, unit: '× of the sum', atMost: true, equal: true }],
    figures: {
      '8 views over 4 contracts: M records of the log per CPU second': perSecond / 1e6,
      '8 views over 4 contracts: M handler calls per CPU second': (CALLS_PER_RECORD * perSecond) / 1e6,
      'a view alone, every fourth record its own: M records of the log per CPU second':
        median(ALONE.flatMap(rates)) / 1e6,
    },
  }
}
