// Blocks that a reader lends: what they hold is what others get, and their memory goes when the next ones are read.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, type EmbeddedLog, type LogBlock, openEmbeddedLog } from '../../../core/index.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const EVENTS = 300
const SEGMENTS = 3

const visits = compileContract(
  'visits',
  'topic',
  z.object({ id: z.int(), page: z.string(), seconds: z.number().nullable(), tags: z.array(z.string()) }),
  'id',
)
const visit = (id: number) => ({
  id,
  page: `/catalogue/of/many/things/${id % 7}`,
  seconds: id % 3 ? id / 4 : null,
  tags: ['one that is common', `number ${id}`],
})

/** A log of sealed segments, and a hot one behind them. */
async function openLog(): Promise<EmbeddedLog> {
  const log = await openEmbeddedLog({
    path: '/log',
    fileSystem: new SimulatedDisk(),
    segmentBytesMax: 12_000,
    seal: true,
  })
  const topic = await log.topic(visits)
  for (let from = 0; from < SEGMENTS * EVENTS; from += EVENTS) {
    const batch = log.batch()
    for (let id = from; id < from + EVENTS; id++) batch.event(topic, visit(id))
    await batch.commit()
  }
  await log.sealed()
  return log
}

/** Fields are asked for as handlers do, and copied. */
function rowsOf(blocks: readonly LogBlock[]): AnyRow[] {
  return blocks.flatMap(block => {
    const rows: AnyRow[] = []
    for (const records = block.records(); records.next(); records.recall()) rows.push({ ...records.lendAfter()! })
    return rows
  })
}

describe('lent blocks', () => {
  it('hold what other blocks hold', async () => {
    await using log = await openLog()
    const read = async (lent: boolean) => {
      const reader = log.read(0, { lent })
      const rows: AnyRow[] = []
      for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready())
        rows.push(...rowsOf(blocks))
      reader.close()
      return rows
    }
    expect(await read(true)).toEqual(Array.from({ length: SEGMENTS * EVENTS }, (_, id) => visit(id)))
    expect(await read(false)).toEqual(await read(true))
  })

  it('are gone when the next ones are read', async () => {
    await using log = await openLog()
    const [lending, keeping] = [log.read(0, { lent: true }), log.read(0)]
    const [lent, kept] = [await lending.ready(), await keeping.ready()]
    await lending.ready()
    await keeping.ready()
    expect(() => lent[0]!.records()).toThrow(expect.objectContaining({ code: 'CURSOR_EXPIRED' }))
    expect(rowsOf(kept)[0]).toEqual(visit(0))
  })
})
