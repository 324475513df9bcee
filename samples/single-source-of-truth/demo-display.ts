// What the demo shows: on a terminal a line at the bottom that moves, elsewhere a plain line now and then.
import { progressBar } from '../../bin/cli/run-display.ts'
import type { ApplicationState } from './application-state.ts'
import type { Comparison, Difference } from './audit.ts'

/** Where nothing can move, progress is said this often. */
const PLAIN_INTERVAL_MS = 5000

export const count = (value: number): string => Math.round(value).toLocaleString('en-US')
export const seconds = (value: number): string => `${value.toFixed(1)} s`
const ms = (value: number | null | undefined): string =>
  value === null || value === undefined ? '–' : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`

/** A terminal, or any other stream. */
export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

export class DemoDisplay {
  readonly #out: Output
  #moving = false
  #plainMs = Number.NEGATIVE_INFINITY

  constructor(out: Output) {
    this.#out = out
  }

  /** A line that stays. */
  line(text: string): void {
    this.#out.write(`${this.#moving ? '\r\x1b[K' : ''}  ${text}\n`)
    this.#moving = false
  }

  /** A line that the next one replaces. */
  move(text: string): void {
    if (this.#out.isTTY === true) {
      this.#out.write(`\r\x1b[K${`  ${text}`.slice(0, (this.#out.columns ?? 80) - 1)}`)
      this.#moving = true
      return
    }
    const nowMs = performance.now()
    if (nowMs - this.#plainMs < PLAIN_INTERVAL_MS) return
    this.#plainMs = nowMs
    this.line(text)
  }
}

/** `shop ████████░░░░  62%  1.4 s left   billing …` */
export function snapshotLine(state: ApplicationState): string {
  const bars = [...state.sources].map(([name, source]) => {
    const { state: step, rows, rowsEstimated, rowsPerSecond } = source
    if (step === 'snapshot') return `${name} ${progressBar(rows, rowsEstimated, rowsPerSecond)}`
    return `${name} ${step === 'handover' ? 'catching up' : step}`
  })
  return bars.join('   ')
}

export interface LiveFigures {
  readonly elapsedSeconds: number
  readonly changesPerSecond: number
  readonly kills: number
}

/** `00:21  changes 20,911/s   log 1,431,007   views 1,431,007   commit → visible p50 1.4 ms p99 4.9 ms   kills 0` */
export function statusLine(state: ApplicationState, figures: LiveFigures): string {
  const { status } = state
  const minutes = String(Math.floor(figures.elapsedSeconds / 60)).padStart(2, '0')
  const rest = String(Math.floor(figures.elapsedSeconds % 60)).padStart(2, '0')
  const views = status === undefined ? 'restarting' : `log ${count(status.logEnd)}   views ${count(status.position)}`
  const lag = `commit → visible p50 ${ms(status?.lagP50Ms)} p99 ${ms(status?.lagP99Ms)}`
  return `${minutes}:${rest}  changes ${count(figures.changesPerSecond)}/s   ${views}   ${lag}   kills ${figures.kills}`
}

/** What somebody can try while it runs. */
export function tryLines(url: string, customer: string): string[] {
  return [
    `try:  curl ${url}/v1/views/accounts/rows/${customer}`,
    `      curl ${url}/v1/views/bills/rows/42`,
    `      curl ${url}/v1/views/accounts/lookup -H 'content-type: application/json' -d '{"keys":[1,2,${customer}]}'`,
    `      curl ${url}/v1/views        curl ${url}/v1/sources        curl ${url}/openapi.json`,
  ]
}

export function comparisonLines(comparison: Comparison, rowsOfView: string): string[] {
  const { rowsCompared, differences, listed, byField } = comparison
  const more = differences > listed.length ? [`  … and ${count(differences - listed.length)} more`] : []
  const result = `${rowsOfView}  →  ${count(rowsCompared)} rows compared, ${count(differences)} differences`
  const fields = [...byField].map(([place, times]) => `${place} ${count(times)}`)
  if (fields.length > 0) more.push(`  by field: ${fields.join(', ')}`)
  return [result, ...listed.map(differenceLine), ...more]
}

function differenceLine({ view, key, field, expected, found }: Difference): string {
  const text = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value))
  return `  ${view}[${key}] ${field}: expected ${text(expected)}, found ${text(found)}`
}
