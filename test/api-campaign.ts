// `npm run test:api`: requests made up from the OpenAPI document by schemathesis, against a running application of which nobody is asked
// who they are, and one where all are. EXAMPLES says how many of each call (30), SEED where it begins (1); what else is given goes to
// schemathesis. It fails where an answer is a 500, is not as the document says, or takes what the document forbids, and where a
// call is answered to somebody who is not known.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createKey } from '../query-api/index.ts'
import { openWorld } from './query-api/support.ts'
import { openPython } from './support/python.ts'

// Not among them: whether all that a schema lets pass is taken, since no schema says which cursor or token is one, or which parameters
// exclude each other; and what methods that HTTP does not know are answered, which Node says before us.
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'negative_data_rejection',
  'missing_required_header',
  'ignored_auth',
]
// That a view has stopped, or that something is waited for in vain, is an answer that is documented.
const CONFIG = `[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503", "504", "507"]
`
const SCOPES = ['view:*', 'topic:*', 'log:*', 'admin:*', 'metrics']

const { EXAMPLES = '30', SEED = '1' } = process.env
const python = await openPython(['schemathesis==4.32.5'])
const folder = await mkdtemp(path.join(tmpdir(), 'mainstem-api-'))
await writeFile(path.join(folder, 'schemathesis.toml'), CONFIG)

async function campaign(name: string, known: boolean): Promise<boolean> {
  const keysFile = path.join(folder, 'keys.json')
  const key = known ? (await createKey(keysFile, { name: 'campaign', scopes: SCOPES })).key : undefined
  await using world = await openWorld(undefined, {}, key === undefined ? {} : { access: { keysFile } })
  await world.appends.append('purchases', [{ customer: 'ada', cents: 1 }])
  await world.appends.append('seatings', [{ show: 'hamlet', seat: 1, holder: 'ada', at: new Date(), id: 7n }])
  const headers = key === undefined ? undefined : { authorization: `Bearer ${key}` }
  const document = path.join(folder, 'openapi.json')
  const response = await fetch(`${world.url}/openapi.json`, headers ? { headers } : {})
  await writeFile(document, await response.text())
  process.stderr.write(`\n${name}: EXAMPLES=${EXAMPLES} SEED=${SEED}\n`)
  const options = ['--checks', CHECKS.join(','), '--phases', 'coverage,fuzzing', '--continue-on-failure']
  const amount = ['--max-examples', EXAMPLES, '--seed', SEED, '--request-timeout', '30', '--warnings', 'off']
  // Subscriptions have no end.
  const where = ['run', document, '--url', world.url, '--exclude-path-regex', '/subscribe$']
  const who = headers ? ['--header', `Authorization: ${headers.authorization}`] : []
  const args = ['-m', 'schemathesis.cli', ...where, ...options, ...amount, ...who, ...process.argv.slice(2)]
  const child = spawn(python, args, { cwd: folder, stdio: 'inherit' })
  const [code] = await once(child, 'exit')
  for (const error of world.internalErrors) console.error(error)
  return code === 0 && world.internalErrors.length === 0
}

const all = [await campaign('nobody is asked', false), await campaign('all are known', true)]
await rm(folder, { recursive: true })
process.exit(all.every(Boolean) ? 0 : 1)
