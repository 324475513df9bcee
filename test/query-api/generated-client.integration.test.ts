// A client in another language, made of the OpenAPI document by a maintained generator: no code of ours is in it.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { openPython, whyNoPython } from '../support/python.ts'
import { openWorld } from './support.ts'

const run = promisify(execFile)
const GENERATOR = ['openapi-python-client==0.29.1']
const why = await whyNoPython(GENERATOR)

describe.skipIf(why !== undefined)(`a client in Python${why === undefined ? '' : ` (${why})`}`, () => {
  test('made of the OpenAPI document gets what the application says', async () => {
    const python = await openPython(GENERATOR)
    const folder = await mkdtemp(path.join(tmpdir(), 'mainstem-python-'))
    await using world = await openWorld()
    const [document, config] = [path.join(folder, 'openapi.json'), path.join(folder, 'config.json')]
    await writeFile(document, JSON.stringify((await world.get('/openapi.json')).body))
    await writeFile(config, '{ "post_hooks": [] }')
    const generate = ['-m', 'openapi_python_client', 'generate', '--meta', 'none', '--fail-on-warning']
    const files = ['--path', document, '--config', config, '--output-path', path.join(folder, 'shop_client')]
    const generated = await run(python, [...generate, ...files])
    // It says there what it could make nothing of.
    expect(generated.stdout + generated.stderr).not.toMatch(/warning/i)
    const script = path.join(import.meta.dirname, 'generated-client.py')
    const { stdout } = await run(python, [script, world.url], { env: { ...process.env, PYTHONPATH: folder } })
    expect(JSON.parse(stdout)).toEqual({
      positions: ['1', '2', '3'],
      row: [{ show: 'hamlet', seat: 2 }, String(2n ** 65n), true, ['none'], true],
      many: ['7', null],
      seats: [2, 1],
      pages: [['36893488147419103232'], ['7']],
      keyed: true,
      spent: { count: 1, cents: 5 },
      problems: [
        [422, 'IDEMPOTENCY_KEY_REUSED', false],
        [404, 'ROW_NOT_FOUND', true],
        [504, 'NOT_REACHED', true],
        [400, 'KEY_MALFORMED', false],
      ],
    })
    expect(world.internalErrors).toEqual([])
    await rm(folder, { recursive: true })
  })
})
