// `npm run bench -- NAME [--json]`: measures, prints what it measured, and with --json one object as the last line.
import { Command } from 'commander'
import { type BenchResult, lineOf, machine } from './harness.ts'

/** Each bench in a file of its own, loaded when asked for. */
const BENCHES: Readonly<Record<string, () => Promise<{ run(): Promise<BenchResult> }>>> = {
  cdc: () => import('./cdc.ts'),
  decode: () => import('./decode.ts'),
  fold: () => import('./fold.ts'),
  log: () => import('./log.ts'),
  peers: () => import('./peers-orders.ts'),
  query: () => import('./query.ts'),
  replay: () => import('./replay.ts'),
}

async function bench(name: string, { json }: { json?: boolean }): Promise<void> {
  const load = BENCHES[name]
  if (!load) throw new Error(`no bench is named '${name}': there are ${Object.keys(BENCHES).join(', ')}`)
  const { goals, figures } = await (await load()).run()
  const out = json ? process.stderr : process.stdout
  for (const [figure, value] of Object.entries(figures)) {
    out.write(`  ${figure}: ${typeof value === 'number' ? Math.round(value * 1000) / 1000 : value}\n`)
  }
  for (const goal of goals) out.write(`  ${lineOf(goal)}\n`)
  if (json) process.stdout.write(`${JSON.stringify({ bench: name, machine: machine(), goals, figures })}\n`)
  if (goals.some(goal => goal.equal === false)) process.exitCode = 1
}

await new Command('bench')
  .description('measures one part, side by side with a peer where there is one')
  .argument('<name>', Object.keys(BENCHES).join(', '))
  .option('--json', 'one JSON object as the last line of stdout')
  .action(bench)
  .parseAsync()
