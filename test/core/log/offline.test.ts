// A log's folder read from outside: what the log itself would read, nothing written, whatever happens to the files meanwhile.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type LogBlock, LogFolder, openEmbeddedLog, summarizeTopics } from '../../../core/index.ts'
import { writtenFolder } from '../../compat/folder.ts'
import { clicks, laterKinds } from '../../compat/recorded.ts'
import { batchesIn } from '../../support/log-batches.ts'
import { FUZZ_PATH, fuzzBase } from '../../support/log-fuzz.ts'

async function all(folder: LogFolder, after = 0): Promise<LogBlock[]> {
  const blocks: LogBlock[] = []
  for await (const block of folder.blocks(after)) blocks.push(block)
  return blocks
}

describe('a log folder', () => {
  it.each(['closed', 'killed', 'sealed'] as const)('that was %s gives the batches of the log', async end => {
    const { disk, batches } = await fuzzBase(end)
    await using folder = await LogFolder.open(FUZZ_PATH, disk)
    expect(batchesIn(await all(folder))).toEqual(batches)
    const last = batches.findLast(({ records }) => records.length > 0)!
    expect(folder.end).toBe(last.records.at(-1)!.position)
    expect(batchesIn(await all(folder, folder.end - 2)).flatMap(({ records }) => records)).toEqual(
      batches.flatMap(({ records }) => records).slice(-2),
    )
  })

  it('is read up to its last whole batch, and nothing in it is changed', async () => {
    const { disk, content } = await writtenFolder()
    disk.plant('/log/00000000000000000001.sealed.tmp', Buffer.from('left by a kill'))
    const before = disk.paths.map(path => [path, disk.bytes(path).toString('hex')])
    await using folder = await LogFolder.open('/log', disk)
    expect(folder.tailBytes).toBeGreaterThan(100)
    expect((content as { end: number }).end ?? folder.end).toBe(folder.end)
    await all(folder)
    await summarizeTopics(folder)
    await folder.refresh()
    expect(disk.paths.map(path => [path, disk.bytes(path).toString('hex')])).toEqual(before)
  })

  it('gives rows in the shape in which they were written', async () => {
    const { disk } = await writtenFolder()
    await using folder = await LogFolder.open('/log', disk)
    const shapes = new Set<string>()
    for (const { topic, after } of batchesIn(await all(folder)).flatMap(({ records }) => records))
      if (topic === laterKinds.name && after) shapes.add(Object.keys(after).join())
    expect(shapes.size).toBe(2)
    const topics = await summarizeTopics(folder)
    expect(topics.find(({ name }) => name === laterKinds.name)).toMatchObject({ layouts: 2, kind: 'table' })
    const records = batchesIn(await all(folder)).flatMap(each => each.records)
    const events = records.filter(({ topic }) => topic === clicks.name).length
    expect(topics.find(({ name }) => name === clicks.name)?.ops).toEqual({ event: events })
    expect(topics.reduce((sum, each) => sum + each.records, 0)).toBe(records.length)
  })

  it('is read on, each batch once, where its segments are sealed meanwhile', async () => {
    const root = await mkdtemp(join(tmpdir(), 'mainstem-offline-'))
    const options = { path: join(root, 'log'), segmentBytesMax: 2_000 }
    const contract = compileContract('t', 'topic', z.object({ id: z.int(), text: z.string() }), 'id')
    const hot = await openEmbeddedLog({ ...options, seal: false })
    const topic = await hot.topic(contract)
    for (let n = 0; n < 200; n++) {
      const batch = hot.batch()
      if (n % 5 === 0) batch.event(topic, { id: n, text: 'x'.repeat(50) })
      await batch.commit({ source: 's', position: String(n) })
    }
    await hot.close()
    const folder = await LogFolder.open(root)
    const before = (await all(folder)).map(({ mark }) => mark?.position)
    const seen: (string | undefined)[] = []
    let seal: Promise<void> | undefined
    for await (const { mark } of folder.blocks(0)) {
      seen.push(mark?.position)
      seal ??= sealAll()
      await seal
    }
    async function sealAll(): Promise<void> {
      const log = await openEmbeddedLog(options)
      await log.sealed()
      await log.close()
    }
    expect((await readdir(options.path)).filter(name => name.endsWith('.segment'))).toHaveLength(1)
    expect(seen).toEqual(before)
    expect(seen).toEqual(Array.from({ length: 200 }, (_, n) => String(n)))
    await folder.close()
    await rm(root, { recursive: true })
  })

  it('is refused where there is no log', async () => {
    await expect(LogFolder.open(tmpdir())).rejects.toMatchObject({ code: 'DATA_DIR_INVALID' })
    await expect(LogFolder.open('/nowhere')).rejects.toMatchObject({ code: 'DATA_DIR_INVALID' })
    await expect(LogFolder.open(import.meta.filename)).rejects.toMatchObject({ code: 'DATA_DIR_INVALID' })
  })
})
