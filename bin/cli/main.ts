// Where the command line begins. `bin/mainstem.mjs` starts it under Node 24.
import { runProgram } from './program.ts'

/** @returns the exit code */
export function main(argv: readonly string[]): Promise<number> {
  // `mainstem log … | head` closes the pipe: that is no error.
  process.stdout.on('error', error => {
    if ('code' in error && error.code === 'EPIPE') process.exit(0)
    throw error
  })
  return runProgram(argv)
}

if (import.meta.main) process.exitCode = await main(process.argv)
