// What checkpoints of a million keys cost while rows change: bytes written for each changed row, and how long a read that comes at any time
// has to wait for the thread.
import { join } from 'node:path'
import { median } from '../harness.ts'
import { type Part, scaled } from '../log-data.ts'
import { inChild, writeLog } from './ours.ts'
import type { WorkName } from './works.ts'

const WORK = 'many-orders' satisfies WorkName
const EVENTS = scaled(5_000_000, 1_000)
const LIVE_MS = 15_000
const EVENTS_PER_SECOND = 100_000

export interface CheckpointsMeasurement {
  readonly work: WorkName
  readonly dataDir: string
  /** How long events are appended while turns are measured. */
  readonly liveMs: number
  readonly eventsPerSecond: number
}

export interface Turns {
  /** Only a hundredth of the time is spent in longer ones: what a read meets that comes at any time. */
  readonly p99Ms: number
  readonly longestMs: number
  /** All of them together. */
  readonly seconds: number
}

export interface CheckpointsMeasured {
  /** By checkpoint. */
  readonly bytesPerRow: readonly number[]
  /** A row as the log would store it, with its key. */
  readonly rowBytes: number
  /** Turns of the event loop while a checkpoint was written. */
  readonly turns: Turns
  /** And while none was: what everything else makes a read wait for, the machine's scheduler too. */
  readonly otherTurns: Turns
  readonly checkpoints: number
  readonly appended: number
}

export async function checkpoints(folder: string, say: (what: string) => void): Promise<Part> {
  const dataDir = join(folder, 'checkpoints')
  say(`writing ${EVENTS / 1e6} M events`)
  await writeLog(dataDir, WORK, EVENTS, false)
  say('checkpoints')
  const told: CheckpointsMeasurement = { work: WORK, dataDir, liveMs: LIVE_MS, eventsPerSecond: EVENTS_PER_SECOND }
  const measured = await inChild<CheckpointsMeasured>('checkpoint-child.ts', told)
  const bytesPerRow = median(measured.bytesPerRow)
  const common = { atMost: true, equal: null } as const
  return {
    goals: [
      {
        name: 'checkpoint bytes per changed row',
        value: bytesPerRow / measured.rowBytes,
        goal: 2,
        unit: '× row',
        ...common,
      },
      {
        name: 'checkpoint stall p99',
        value: measured.turns.p99Ms,
        goal: 5,
        unit: 'ms',
        ...common,
      },
    ],
    figures: {
      'checkpoint: bytes written per changed row': bytesPerRow,
      'checkpoint: bytes of a row and its key': measured.rowBytes,
      'checkpoint stall: checkpoints': measured.checkpoints,
      'checkpoint stall: events appended meanwhile': measured.appended,
      'checkpoint stall: ms, p99 while no checkpoint is written': measured.otherTurns.p99Ms,
      'checkpoint stall: ms, longest turn': measured.turns.longestMs,
      'checkpoint stall: seconds in checkpoints': measured.turns.seconds,
    },
  }
}
