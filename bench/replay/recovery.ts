// A process with a million keys is killed with SIGKILL while it appends and folds; how soon the next one answers, and is level.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { median } from '../harness.ts'
import { check, type Part, scaled } from '../log-data.ts'
import { inChild, writeLog } from './ours.ts'
import { type Result, resultOf } from './work.ts'
import { WORKS, type WorkName } from './works.ts'

export const RECOVERED = 'many-orders' satisfies WorkName
const EVENTS = scaled(5_000_000, 1_000)
const KILLS = 5
/** From when it is level to when it is killed, later each time: its checkpoints are each second. */
const RUN_MS = 2_000
const RUN_MORE_MS = 230
/** To be level may take so much longer than folding the tail does. */
const GRACE_SECONDS = 1

export interface LiveTold {
  /** Wall clock, of the rebuild that this process began with; 0 where it began with a checkpoint. */
  readonly eventsPerSecond: number
}

export interface Restarted extends Result {
  readonly firstAnswerSeconds: number
  /** Of all threads: what it would take at least on one core of a machine that does nothing else. */
  readonly firstAnswerCpuSeconds: number
  readonly caughtUpSeconds: number
  /** Positions after the checkpoint. */
  readonly tail: number
  /** Of the log. */
  readonly end: number
}

export async function recovery(folder: string, say: (what: string) => void): Promise<Part> {
  const dataDir = join(folder, 'killed')
  say(`writing ${EVENTS / 1e6} M events`)
  await writeLog(dataDir, RECOVERED, EVENTS, false)
  let eventsPerSecond = 0
  const restarts: Restarted[] = []
  for (let kill = 0; kill < KILLS; kill++) {
    say(`kill ${kill + 1} of ${KILLS}`)
    const told = await runAndKill(dataDir, RUN_MS + kill * RUN_MORE_MS)
    eventsPerSecond ||= told.eventsPerSecond
    const restarted = await inChild<Restarted>('restart-child.ts', { dataDir })
    const expected = await resultOf(WORKS[RECOVERED].expected(restarted.end))
    check(restarted.hash === expected.hash, 'after a kill the rows differ')
    restarts.push(restarted)
  }
  const replaySeconds = ({ tail }: Restarted): number => tail / eventsPerSecond
  const beyond = (each: Restarted): number => each.caughtUpSeconds - replaySeconds(each)
  const typical = restarts.toSorted((a, b) => beyond(a) - beyond(b))[KILLS >> 1]!
  const common = { unit: 's', atMost: true, equal: true } as const
  const of = '1 M keys after a kill'
  return {
    goals: [
      { name: `${of}: first answer`, value: median(restarts.map(each => each.firstAnswerSeconds)), goal: 1, ...common },
      {
        name: `${of}: caught up`,
        value: typical.caughtUpSeconds,
        goal: replaySeconds(typical) + GRACE_SECONDS,
        ...common,
      },
    ],
    figures: {
      [`${of}: rows`]: restarts[0]!.rows,
      [`${of}: events in the tail`]: restarts.map(each => each.tail).join(' '),
      [`${of}: seconds to the first answer`]: restarts.map(each => each.firstAnswerSeconds.toFixed(2)).join(' '),
      [`${of}: CPU seconds to the first answer`]: median(restarts.map(each => each.firstAnswerCpuSeconds)),
      [`${of}: seconds until caught up`]: restarts.map(each => each.caughtUpSeconds.toFixed(2)).join(' '),
      [`${of}: M events/s of a rebuild, by which the tail's replay time is known`]: eventsPerSecond / 1e6,
    },
  }
}

async function runAndKill(dataDir: string, afterMs: number): Promise<LiveTold> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'live-child.ts'), dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  try {
    const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), exited])) as unknown[]
    check(typeof line === 'string', 'the process ended before it was killed')
    await pause(afterMs)
    return JSON.parse(String(line)) as LiveTold
  } finally {
    child.kill('SIGKILL')
    await exited
  }
}
