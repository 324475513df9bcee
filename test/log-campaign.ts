// `npm run test:log`: the proofs of the log at large. SEEDS, FUZZ and CRASHES say how much (test/support/campaign.ts), SEED where it
// begins; what else is given goes to vitest.
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const vitest = resolve(root, 'node_modules/vitest/vitest.mjs')
const files = ['model', 'fuzz', 'crashes', 'kill', 'sealed-kill', 'follow/interleaving', 'follow/conformance'].map(
  name => `test/core/log/${name}.test.ts`,
)
const env: NodeJS.ProcessEnv = { SEED: '1', SEEDS: '300', FUZZ: '3000', CRASHES: '1', ...process.env }
const options = ['run', '--project', 'unit', '--testTimeout=3600000', ...files, ...process.argv.slice(2)]

process.stderr.write(`${['SEED', 'SEEDS', 'FUZZ', 'CRASHES'].map(name => `${name}=${env[name]}`).join(' ')}\n`)
const { status } = spawnSync(process.execPath, [vitest, ...options], { cwd: root, env, stdio: 'inherit' })
process.exitCode = status ?? 1
