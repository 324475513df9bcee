// The recorded data folder of each format version opens for ever, gives what was put in, and can be appended to.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type LogEvent, openEmbeddedLog } from '../../core/index.ts'
import { LOG_FORMAT } from '../../core/log/identity.ts'
import { batchesOf } from '../support/log-batches.ts'
import { writtenFolder } from './folder.ts'
import { bookings, clicks, contentOf, laterKinds, lines } from './recorded.ts'

const versions = readdirSync(import.meta.dirname).filter(name => /^\d+$/.test(name))

/** A copy, as nothing may change the recorded one. */
function copied(version: string): string {
  const from = join(import.meta.dirname, version, 'log')
  const path = mkdtempSync(join(tmpdir(), 'mainstem-compat-'))
  for (const name of readdirSync(from))
    writeFileSync(join(path, name.replace(/\.gz$/, '')), gunzipSync(readFileSync(join(from, name))))
  return path
}

/** The first versions' stands there as text. */
function expectedOf(version: string): unknown {
  const path = join(import.meta.dirname, version, 'expected.json')
  return JSON.parse(existsSync(path) ? readFileSync(path, 'utf8') : gunzipSync(readFileSync(`${path}.gz`)).toString())
}

describe.each(versions)('a data folder of format %s', version => {
  it('opens, gives what was put in, and is cut where its last write was torn', async () => {
    const path = copied(version)
    const events: LogEvent[] = []
    const log = await openEmbeddedLog({ path, seal: false, onEvent: event => events.push(event) })
    expect(await contentOf(log)).toEqual(expectedOf(version))
    expect(events).toMatchObject([{ event: 'log-tail-cut' }])
    for (const contract of [laterKinds, lines, clicks, bookings]) expect(log.contractChanged(contract)).toBe(false)
    await log.close()
    // Until something is written that an older version cannot read, it still opens there. (Version 2 did not say it yet.)
    const format = Number(version) < 3 ? 1 : Number(version)
    expect(JSON.parse(await readFile(join(path, 'log.json'), 'utf8'))).toMatchObject({ format })
    rmSync(path, { recursive: true })
  })

  it('is the same after being appended to, closed and opened again, with and without its sidecars', async () => {
    const path = copied(version)
    const options = { path, segmentBytesMax: 4_000 }
    let log = await openEmbeddedLog(options)
    const before = await batchesOf(log)
    const topic = await log.topic(clicks)
    for (let n = 0; n < 100; n++) {
      const batch = log.batch()
      batch.event(topic, { user: 'later', page: `/later/${n}` })
      await batch.commit()
    }
    const after = await batchesOf(log)
    expect(after.slice(0, before.length)).toStrictEqual(before)
    expect(after).toHaveLength(before.length + 100)
    await log.sealed()
    expect(await batchesOf(log)).toStrictEqual(after)
    await log.close()
    expect(JSON.parse(await readFile(join(path, 'log.json'), 'utf8'))).toMatchObject({ format: LOG_FORMAT })
    log = await openEmbeddedLog(options)
    expect(await batchesOf(log)).toStrictEqual(after)
    await log.close()
    for (const name of readdirSync(path).filter(file => file.endsWith('.index.json'))) rmSync(join(path, name))
    log = await openEmbeddedLog(options)
    expect(await batchesOf(log)).toStrictEqual(after)
    await log.close()
    rmSync(path, { recursive: true })
  })
})

describe('the recorded data folders', () => {
  it('are there for each version up to the one that is written now', async () => {
    const { format } = await writtenFolder()
    expect(versions.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: format }, (_, n) => n + 1))
  })
})
