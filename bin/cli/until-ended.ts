// Waiting for work that a running application was told to do: it is asked again and again, and how far it is shown meanwhile.
import { setTimeout as sleep } from 'node:timers/promises'
import { errorOf, fail, type JobStatus } from '../../core/index.ts'
import { call } from './http.ts'
import { Progress } from './log/progress.ts'
import { grouped } from './table.ts'

const POLL_MS = 200

type Show = (done: number, total: number) => void

/** Asks until there is an answer. @param unit of what is shown · @param ask gives undefined as long as the work goes on */
export async function untilEnded<T>(unit: 'records' | 'rows', ask: (show: Show) => Promise<T | undefined>): Promise<T> {
  const shown = new Progress(perSecond => `${grouped(Math.round(perSecond))} ${unit}/s`)
  try {
    for (;;) {
      const ended = await ask((done, total) => shown.show(done, total))
      if (ended !== undefined) return ended
      await sleep(POLL_MS)
    }
  } finally {
    shown.end()
  }
}

/**
 * Waits for the report of a job.
 * @param what it is, for errors: `the audit` · @param show of its progress
 * @throws what it failed with
 */
export function reportOf<R, P>(
  { url, path, what, unit }: { url: string; path: string; what: string; unit: 'records' | 'rows' },
  show: (progress: P, show: Show) => void,
): Promise<R> {
  return untilEnded(unit, async shown => {
    const { state, progress, report, error } = await call<JobStatus<R, P>>(url, path)
    if (report) return report
    if (error) throw errorOf(error)
    if (state === 'idle') throw fail('INTERNAL', `${what} is gone`, { detail: `${url} was started anew` })
    if (progress) show(progress, shown)
    return undefined
  })
}
