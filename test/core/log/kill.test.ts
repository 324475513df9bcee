// The real thing: a process that appends is killed with SIGKILL, again and again, and the next one takes its folder.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { openEmbeddedLog, openTableStore } from '../../../core/index.ts'
import { wholeBatches } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'

const CHILD = resolve(import.meta.dirname, '../../support/append-child.ts')

interface Printed {
  batch: number
  commit: number
}

/** Runs the child until it has printed so many lines, then kills it; the highest numbers it printed. */
async function killedAfter(lines: number, folder: string, from: number): Promise<Printed> {
  const child = spawn(process.execPath, [CHILD, folder, String(from)], { stdio: ['ignore', 'pipe', 'pipe'] })
  const printed: Printed = { batch: 0, commit: 0 }
  let errors = ''
  child.stderr.on('data', data => {
    errors += data
  })
  let left = lines
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, n] = line.split(' ')
    if (what === 'batch') printed.batch = Math.max(printed.batch, Number(n))
    else printed.commit = Number(n)
    if (--left === 0) child.kill('SIGKILL')
  }
  expect(errors).toBe('')
  return printed
}

describe('a process killed while it appends', () => {
  it('leaves a log with all it acknowledged and a store at one commit, and frees both at once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-kill-'))
    const random = new Random(7)
    let from = 1
    let committed = 0
    for (let round = 0; round < 4; round++) {
      const printed = await killedAfter(10 + random.int(80), folder, from)
      committed = Math.max(committed, printed.commit)
      const log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: 20_000 })
      const batches = await wholeBatches(log)
      expect(batches).toEqual(batches.map((_, n) => n + 1))
      expect(batches.length).toBeGreaterThanOrEqual(printed.batch)
      await log.close()
      const store = openTableStore(join(folder, 'store'))
      const position = store.meta('position')
      expect(position).toBeGreaterThanOrEqual(committed)
      for (const table of ['odd', 'even']) {
        const values = [...store.entries(table)].map(([, value]) => Number(value.toString()))
        expect(values).toEqual(Array.from({ length: 100 }, () => position))
      }
      await store.close()
      from = batches.length + 1
    }
    rmSync(folder, { recursive: true })
  })

  it('names the process that has the folder', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-kill-'))
    const child = spawn(process.execPath, [CHILD, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
    for await (const _ of createInterface({ input: child.stdout })) {
      if (child.killed) continue
      await expect(openEmbeddedLog({ path: join(folder, 'log') })).rejects.toMatchObject({
        code: 'DATA_DIR_IN_USE',
        detail: expect.stringContaining(`process ${child.pid}`),
      })
      child.kill('SIGKILL')
    }
    await (await openEmbeddedLog({ path: join(folder, 'log') })).close()
    rmSync(folder, { recursive: true })
  })
})
