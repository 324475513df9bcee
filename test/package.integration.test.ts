import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const run = promisify(execFile)
let folder: string

describe('the package as it is published', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mainstem-package-'))
    await run(process.execPath, [join(root, 'bin/build.mjs')])
    await run('npm', ['pack', join(root, 'dist'), '--pack-destination', folder], { cwd: folder })
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }\n')
    await run('npm', ['install', './mainstem-0.1.0.tgz', 'zod', '--no-fund', '--no-audit'], { cwd: folder })
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('runs the hello sample from node_modules', async () => {
    await copyFile(join(root, 'samples/hello/hello.ts'), join(folder, 'hello.ts'))
    const { stdout } = await run(process.execPath, ['hello.ts'], { cwd: folder })
    expect(stdout.trim()).toBe('{ count: 2, cents: 2050 } at 2')
  })

  it('brings the command line', async () => {
    const launcher = join(folder, 'node_modules/.bin/mainstem')
    expect((await run(process.execPath, [launcher, '--version'])).stdout.trim()).toBe('0.1.0')
    const { stdout } = await run(process.execPath, [launcher, 'init', 'made', '--no-install', '--json'], {
      cwd: folder,
    })
    expect(JSON.parse(stdout)).toMatchObject({ files: expect.arrayContaining(['app.ts', 'package.json']) })
  })

  it('seals the log in a thread of its own', async () => {
    const script = `import { compileContract, openEmbeddedLog } from './node_modules/mainstem/core/index.js'; import { z } from 'zod'; import { readdirSync } from 'node:fs';
      const events = []; const log = await openEmbeddedLog({ path: 'sealing', segmentBytesMax: 1000, onEvent: event => events.push(event) });
      const notes = await log.topic(compileContract('notes', 'topic', z.object({ id: z.int(), text: z.string() }), 'id'));
      for (let id = 0; id < 40; id++) { const batch = log.batch(); batch.event(notes, { id, text: 'a note '.repeat(20) }); await batch.commit() }
      await log.sealed(); await log.close();
      console.log(JSON.stringify({ events, sealed: readdirSync('sealing').filter(name => name.endsWith('.sealed')).length }))`
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: folder })
    const { events, sealed } = JSON.parse(stdout) as { events: unknown[]; sealed: number }
    expect(events).toEqual([])
    expect(sealed).toBeGreaterThan(2)
  })

  it('folds in threads of shards, which load the application’s file', async () => {
    const script = `import { openApplication } from 'mainstem'; import app, { purchases } from './hello.ts';
      await using running = await openApplication(app, { shards: 2, dataDir: 'sharded' });
      const after = await running.append(purchases, ['ada', 'bob', 'ada'].map(customer => ({ customer, cents: 100 })));
      const { value, position } = await running.client.views.spending.get('ada', { after });
      console.log(JSON.stringify({ value, position }))`
    await copyFile(join(root, 'samples/hello/hello.ts'), join(folder, 'hello.ts'))
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: folder })
    expect(JSON.parse(stdout)).toEqual({ value: { count: 2, cents: 200 }, position: '3' })
  })

  it('loads no driver and no web server until they are asked for', async () => {
    const script = `await import('mainstem'); const { createRequire } = await import('node:module');
      const loaded = Object.keys(createRequire(import.meta.url).cache).filter(name => /node_modules.(pg|fastify|pg-logical-replication)[^a-z-]/.test(name));
      console.log(JSON.stringify(loaded))`
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: folder })
    expect(JSON.parse(stdout)).toEqual([])
  })
})
