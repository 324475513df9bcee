// Each acknowledgement follows its fdatasync: asked of the kernel's own record of the process (strace), and of the file system
// port's.
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { nodeFileSystem, openEmbeddedLog } from '../../../core/index.ts'
import { acknowledged, parseStrace, type TraceEvent, traced } from '../../support/durability-trace.ts'
import { appendMarkers, markersContract } from '../../support/log-records.ts'

const CHILD = resolve(import.meta.dirname, '../../support/acknowledge-child.ts')
const CALLS = 'openat,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,rename,renameat,renameat2'
const BATCHES = Array.from({ length: 24 }, (_, n) => n + 1)

const run = promisify(execFile)
/** Whether strace is there and may trace: containers often forbid it. */
const straced = spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0

describe('an acknowledgement', () => {
  it.skipIf(!straced)(
    `follows its fdatasync, says strace${straced ? '' : ' (not possible here: the port says so below)'}`,
    async () => {
      const folder = realpathSync(mkdtempSync(join(tmpdir(), 'mainstem-strace-')))
      const trace = join(folder, 'trace')
      const path = join(folder, 'log')
      const options = ['-f', '-y', '-s', '100000', '-e', `trace=${CALLS}`, '-o', trace]
      await run('strace', [...options, process.execPath, CHILD, path], {
        env: { ...process.env, UV_USE_IO_URING: '0' },
      })
      const events = parseStrace(readFileSync(trace, 'utf8'))
      const made = events.filter(event => event.call === 'create' && event.path.endsWith('.segment'))
      expect(made.length).toBeGreaterThan(2)
      expect(acknowledged(events).sort((a, b) => a - b)).toEqual(BATCHES)
      rmSync(folder, { recursive: true })
    },
  )

  it('follows its fdatasync, says the file system’s port', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-trace-'))
    const events: TraceEvent[] = []
    const fileSystem = traced(nodeFileSystem, events)
    const log = await openEmbeddedLog({ path: join(folder, 'log'), fileSystem, segmentBytesMax: 1_500 })
    const topic = await log.topic(markersContract)
    const append = async (batch: number) => {
      await appendMarkers(log, topic, batch, 1 + (batch % 3), 'x'.repeat(50))
      events.push({ call: 'acknowledge', batch })
    }
    for (let n = 1; n <= BATCHES.length; n += 4)
      await Promise.all([append(n), append(n + 1), append(n + 2), append(n + 3)])
    await log.close()
    expect(acknowledged(events).sort((a, b) => a - b)).toEqual(BATCHES)
    rmSync(folder, { recursive: true })
  })

  it('would be found out if it came early', () => {
    const file = { path: '/log/1.segment', id: '1', text: '<1:0>' }
    const folder = { path: '/log', id: '2' }
    const made: TraceEvent = { call: 'create', path: file.path }
    const write: TraceEvent[] = [false, true].map(ended => ({ call: 'write', ...file, ended }))
    const sync: TraceEvent[] = [false, true].map(ended => ({ call: 'sync', ...file, ended }))
    const syncFolder: TraceEvent[] = [false, true].map(ended => ({ call: 'sync', ...folder, ended }))
    const answer: TraceEvent = { call: 'acknowledge', batch: 1 }
    expect(acknowledged([made, ...syncFolder, ...write, ...sync, answer])).toEqual([1])
    const early = [
      [made, ...syncFolder, ...write, answer, ...sync],
      [made, ...syncFolder, ...write, ...sync.slice(0, 1), answer, ...sync.slice(1)],
      [made, ...syncFolder, ...write.slice(0, 1), ...sync.slice(0, 1), ...write.slice(1), ...sync.slice(1), answer],
      [made, ...write, ...sync, answer, ...syncFolder],
    ]
    for (const events of early) expect(() => acknowledged(events)).toThrow(/batch 1 was acknowledged before/)
  })
})
