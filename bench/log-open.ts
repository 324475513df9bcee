// Opening a large log after its process was killed while it appended: what was acknowledged must be there.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { compileContract, openEmbeddedLog } from '../core/index.ts'
import { median, ROUNDS } from './harness.ts'
import { check, inFolder, type Part, scaled } from './log-data.ts'

export const BODY_BYTES = 1000
export const openContract = compileContract(
  'large',
  'topic',
  z.object({ id: z.int(), body: z.instanceof(Uint8Array) }),
  'id',
)

const BYTES_WANTED = scaled(10 * 2 ** 30)
/** More after each kill. */
const ROUND_BYTES = 32 * 2 ** 20

export const opening = (): Promise<Part> =>
  inFolder(async folder => {
    const { bavail, bsize } = await statfs(folder)
    const wanted = Math.min(BYTES_WANTED, Math.floor((bavail * bsize) / 3))
    const path = join(folder, 'log')
    const startedMs = performance.now()
    let { bytes } = await appendAndKill(path, wanted)
    const fillSeconds = (performance.now() - startedMs) / 1000
    const took: number[] = []
    let segments = 0
    for (let round = 0; round < ROUNDS; round++) {
      const killed = await appendAndKill(path, bytes + ROUND_BYTES)
      const openedMs = performance.now()
      await using log = await openEmbeddedLog({ path })
      took.push(performance.now() - openedMs)
      check(log.end >= killed.end, `the log ends at ${log.end}, and ${killed.end} was acknowledged`)
      ;({ bytes, segments } = log.status())
    }
    return {
      goals: [{ name: 'open', value: median(took) / 1000, goal: 1, unit: 's', atMost: true, equal: null }],
      figures: {
        'open: GiB': bytes / 2 ** 30,
        'open: segments, none of them sealed': segments,
        'open: seconds by round': took.map(ms => (ms / 1000).toFixed(3)).join(' '),
        'open: seconds to append it': fillSeconds,
        'open: all that was acknowledged before the kill is there': 'true',
      },
    }
  })

/** Kills with SIGKILL once the log has so many bytes; gives what was acknowledged by then. */
async function appendAndKill(path: string, until: number): Promise<{ end: number; bytes: number }> {
  const script = join(import.meta.dirname, 'log-open-child.ts')
  const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const told = { end: 0, bytes: 0 }
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const [end = 0, bytes = 0] = line.split(' ').map(Number)
      Object.assign(told, { end, bytes })
      if (bytes >= until) break
    }
  } finally {
    child.kill('SIGKILL')
  }
  const [, signal] = await exited
  check(signal === 'SIGKILL', 'the appending process ended before it was killed')
  return told
}
