import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const run = promisify(execFile)
const hook = new URL('../../bin/resolve-hook.mjs', import.meta.url).href
const launcher = fileURLToPath(new URL('../../bin/mainstem.mjs', import.meta.url))

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mainstem-launcher-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('an application file anywhere finds zod without an installation of its own', async () => {
  const file = path.join(folder, 'app.mts')
  await writeFile(file, `import { z } from 'zod'\nconsole.log(z.int().parse(42))\n`)
  const { stdout } = await run(process.execPath, ['--import', hook, file], { cwd: folder })
  expect(stdout).toBe('42\n')
})

test('what is not ours and not installed stays an error that names the importing file', async () => {
  const file = path.join(folder, 'missing.mts')
  await writeFile(file, `import 'not-installed-anywhere'\n`)
  await expect(run(process.execPath, ['--import', hook, file])).rejects.toMatchObject({
    stderr: expect.stringMatching(
      /ERR_MODULE_NOT_FOUND|Cannot find package 'not-installed-anywhere' imported from .*missing\.mts/,
    ),
  })
})

test("the folder's own zod comes first", async () => {
  const own = path.join(folder, 'node_modules', 'zod')
  const { mkdir } = await import('node:fs/promises')
  await mkdir(own, { recursive: true })
  await writeFile(path.join(own, 'package.json'), '{"name":"zod","type":"module","exports":"./index.js"}')
  await writeFile(path.join(own, 'index.js'), `export const z = 'own'\n`)
  const file = path.join(folder, 'own.mts')
  await writeFile(file, `import { z } from 'zod'\nconsole.log(z)\n`)
  expect((await run(process.execPath, ['--import', hook, file])).stdout).toBe('own\n')
})

test('an older Node without a newer one beside it is told what to do', async () => {
  // The version is what the launcher sees; the file itself must load on what is older.
  const script = `Object.defineProperty(process, 'version', { value: 'v20.1.0' }); process.argv = [process.argv[0], ${JSON.stringify(launcher)}]; await import(${JSON.stringify(launcher)})`
  const env = { ...process.env, MAINSTEM_RELAUNCHED: '1' }
  await expect(run(process.execPath, ['--input-type=module', '-e', script], { env })).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('mainstem needs Node 24 or newer; this is v20.1.0.'),
  })
})

test('an older Node hands over to the one installed beside the package', async () => {
  const script = `Object.defineProperty(process, 'version', { value: 'v20.1.0' }); process.execArgv = []; process.argv = [process.argv[0], ${JSON.stringify(launcher)}, '--version']; await import(${JSON.stringify(launcher)})`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script])
  expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})
