// `npm run demo`: two PostgreSQL servers, an application that unites them, a live workload, and at the end an audit of every
// row of every view. What `--json` prints last is for machines, everything else for people.
import { Command, InvalidArgumentError } from 'commander'
import { ApplicationFailure } from './application-process.ts'
import { KILLS_MIN } from './chaos.ts'
import { DemoDisplay } from './demo-display.ts'
import type { DemoReport } from './demo-report.ts'
import { type DemoOptions, runDemo } from './demo-run.ts'
import { Interrupted, Interrupts } from './interrupts.ts'

const SECONDS_MAX = 30 * 24 * 3600
const ROWS_MAX = 50_000_000
const RATE_MAX = 1_000_000

const wholeNumber = (least: number, most: number) => (text: string) => {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`)
  }
  return value
}

interface Flags {
  readonly seconds?: number
  readonly rate: number
  readonly chaos?: boolean
  readonly json?: boolean
  readonly customers: number
  readonly orders?: number
  readonly port?: number
}

function readFlags(argv: readonly string[]): Flags {
  return new Command('npm run demo --')
    .description(
      'Starts two PostgreSQL servers (shop and billing) and an application that keeps views over both, changes the data all ' +
        'the time, and ends with an audit: every row of every view is recomputed with SQL and compared.',
    )
    .option('--seconds <n>', 'end after so many seconds of streaming (default: at Ctrl-C)', wholeNumber(1, SECONDS_MAX))
    .option('--rate <n>', 'changes per second of the workload', wholeNumber(1, RATE_MAX), 5000)
    .option('--chaos', `kill the application (SIGKILL) at least ${KILLS_MIN} times, in each phase, and restart it`)
    .option(
      '--customers <n>',
      'customers in shop; invoices and payments in proportion',
      wholeNumber(1, ROWS_MAX),
      100_000,
    )
    .option('--orders <n>', 'orders in shop (default: five for each customer)', wholeNumber(1, ROWS_MAX))
    .option('--port <n>', 'HTTP port of the application (default: 7070, or any free one)', wholeNumber(0, 65_535))
    .option('--json', 'print one JSON object as the last line of stdout, all else on stderr')
    .parse(argv)
    .opts<Flags>()
}

function optionsOf({ customers, orders = 5 * customers, seconds, port, rate, chaos, json }: Flags): DemoOptions {
  return {
    sizes: {
      customers,
      orders,
      skus: Math.ceil(customers / 20),
      invoices: Math.ceil(customers * 3.1),
      payments: customers,
      seed: 1,
    },
    rate,
    chaos: chaos === true,
    display: new DemoDisplay(json ? process.stderr : process.stdout),
    ...(seconds === undefined ? {} : { seconds }),
    ...(port === undefined ? {} : { port }),
  }
}

function succeeded(report: DemoReport, chaos: boolean): boolean {
  return report.differences === 0 && report.corruptedRowFound && (!chaos || report.kills >= KILLS_MIN)
}

async function main(): Promise<number> {
  const flags = readFlags(process.argv)
  try {
    const report = await runDemo(optionsOf(flags), new Interrupts())
    if (flags.json) process.stdout.write(`${JSON.stringify(report)}\n`)
    return succeeded(report, flags.chaos === true) ? 0 : 1
  } catch (error) {
    if (error instanceof Interrupted) {
      process.stderr.write(`  ${error.message}; nothing is left running\n`)
      return error.exitCode
    }
    process.stderr.write(`\n  the demo failed: ${describe(error)}\n`)
    return 1
  }
}

/** Clean-up after a failure may fail too; both are told, the first one first. */
function describe(error: unknown): string {
  if (error instanceof SuppressedError) return `${describe(error.suppressed)}\n  and then: ${describe(error.error)}`
  if (error instanceof ApplicationFailure) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

process.exitCode = await main()
