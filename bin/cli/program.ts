// The command line as a whole, and what its exit codes mean.
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { describeError, isMainstemError } from '../../core/index.ts'
import { problemOf } from '../../query-api/index.ts'
import { COMMANDS } from './commands.ts'
import { EXIT } from './exit.ts'

const HELP = `
Exit codes:
  0 done · 1 an error, its code on stderr · 2 wrong usage · 3 no application answers at --url`

export function createProgram(): Command {
  const program = new Command('mainstem')
    .description('change logs from your databases, through a replayable log, into live and queryable views')
    .version(packageVersion(), '-v, --version')
    .helpCommand('help [command]', 'describe a command')
    // `sources` and `sources drop` have options of the same names: each takes those that stand after its own name.
    .enablePositionalOptions()
    .showHelpAfterError('(--help says how)')
    .addHelpText('after', HELP)
    .exitOverride()
  for (const add of COMMANDS) add(program)
  for (const command of everyCommand(program)) command.exitOverride()
  return program
}

const everyCommand = (command: Command): Command[] => command.commands.flatMap(each => [each, ...everyCommand(each)])

/** From the nearest package.json above: the sources and the build lie at different depths. */
export function packageVersion(): string {
  for (const up of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'))
      if (name === 'mainstem') return String(version)
    } catch {
      // The next one.
    }
  }
  return '0'
}

/** Runs a command line and gives its exit code. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync([...argv])
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.ok
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    return reportError(error, argv.includes('--json'))
  }
}

function reportError(error: unknown, json: boolean): number {
  const errors = error instanceof AggregateError ? error.errors : [error]
  for (const each of errors) process.stderr.write(`${describeError(each)}\n`)
  const first: unknown = errors[0]
  if (json && isMainstemError(first)) process.stdout.write(`${JSON.stringify({ error: problemOf(first) })}\n`)
  return isMainstemError(first) && first.code === 'APPLICATION_UNREACHABLE' ? EXIT.unreachable : EXIT.failed
}
