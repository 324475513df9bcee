// The vector of a cut: what each source's newest mark was at a position, by memory, by the files of a log opened again, hot and
// sealed; and the place of a record in its transaction, from wherever one begins to read.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { blocksOf, compileContract, openEmbeddedLog, Sequence } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'

interface Written {
  readonly first: number
  readonly last: number
  readonly source: string
  readonly position: number
}

test('marks at every cut, and places in transactions, are those of the batches written (seeds 1 to 3)', async () => {
  for (const seed of [1, 2, 3]) {
    const random = new Random(seed)
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-marks-'))
    const options = { path: join(folder, 'log'), segmentBytesMax: 4_096 }
    const contract = compileContract('notes', 'topic', z.object({ id: z.int(), text: z.string() }), 'id')
    const written: Written[] = []
    try {
      const log = await openEmbeddedLog(options)
      const topic = await log.topic(contract)
      const positions = { shop: 0, billing: 0 }
      for (let n = 0; n < 300; n++) {
        const source = random.pick(['shop', 'billing'] as const)
        positions[source] += 1 + random.int(3)
        const position = positions[source]
        const batch = log.batch()
        // Some are heartbeats, one is larger than a block.
        const count = n === 150 ? 5 : random.int(4)
        for (let id = 0; id < count; id++)
          batch.event(topic, { id, text: 'x'.repeat(n === 150 ? 400_000 : random.int(60)) })
        const { first, last } = await batch.commit({ source, position: String(position), transaction: String(n) })
        written.push({ first, last, source, position })
      }
      const check = async (log: Awaited<ReturnType<typeof openEmbeddedLog>>) => {
        for (const [n, { first, last }] of written.entries()) {
          if (last < first) continue
          const marks = await log.marksAt(last)
          for (const source of ['shop', 'billing']) {
            const least = written.slice(0, n + 1).findLast(each => each.source === source)?.position ?? 0
            // A heartbeat behind the cut adds nothing to it.
            const most = written.findLast(each => each.source === source && each.last <= last)?.position ?? 0
            const found = Number(marks.get(source)?.position ?? 0)
            expect(found, `${source} at ${last}`).toBeGreaterThanOrEqual(least)
            expect(found, `${source} at ${last}`).toBeLessThanOrEqual(most)
          }
        }
        for (let from = 1; from <= log.end; from += 1 + random.int(20)) {
          const sequence = await Sequence.from(blocksOf(log), from, 0)
          for await (const block of blocksOf(log)(from - 1)) {
            sequence.enter(block)
            for (const cursor = block.records(); cursor.next(); ) {
              if (cursor.position < from) continue
              const { first } = written.find(each => each.first <= cursor.position && cursor.position <= each.last)!
              expect(sequence.of(cursor.position)).toBe(cursor.position - first + 1)
            }
          }
        }
      }
      await check(log)
      await log.close()
      const hot = await openEmbeddedLog({ ...options, seal: false })
      await hot.topic(contract)
      await check(hot)
      await hot.close()
      const sealed = await openEmbeddedLog(options)
      await sealed.topic(contract)
      await sealed.sealed()
      await check(sealed)
      await sealed.close()
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
})
