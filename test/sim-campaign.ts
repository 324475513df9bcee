// `npm run test:sim`: the engine's simulation at large. SEEDS says how many seeds, SEED where they begin; SEED alone runs that one. What
// else is given goes to vitest.
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const vitest = resolve(root, 'node_modules/vitest/vitest.mjs')
const env: NodeJS.ProcessEnv = { ...(process.env['SEED'] ? {} : { SEEDS: '2000' }), ...process.env }
const options = ['run', '--project', 'simulation', '--testTimeout=3600000', 'test/simulation', ...process.argv.slice(2)]

process.stderr.write(`${['SEED', 'SEEDS'].map(name => `${name}=${env[name] ?? ''}`).join(' ')}\n`)
const { status } = spawnSync(process.execPath, [vitest, ...options], { cwd: root, env, stdio: 'inherit' })
process.exitCode = status ?? 1
