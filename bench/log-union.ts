// A scan over a topic whose contract is a union: four variants that stand mixed in the log.
import { join } from 'node:path'
import { z } from 'zod'
import { compileContract, openEmbeddedLog } from '../core/index.ts'
import { interleave } from './harness.ts'
import { appendEvents, check, inFolder, type Part, scaled, sealAll } from './log-data.ts'

const EVENTS = scaled(2_000_000, 4)

const id = z.int()
const contract = compileContract(
  'orders',
  'topic',
  z.discriminatedUnion('type', [
    z.object({ type: z.literal('placed'), id, customer: z.int(), cents: z.int() }),
    z.object({ type: z.literal('paid'), id, cents: z.int(), method: z.enum(['card', 'bank', 'cash']) }),
    z.object({ type: z.literal('shipped'), id, carrier: z.string(), grams: z.int() }),
    z.object({ type: z.literal('cancelled'), id, reason: z.string(), refund: z.int() }),
  ]),
  'id',
)

const METHODS = ['card', 'bank', 'cash']
const CARRIERS = ['north', 'south', 'river', 'air']
const REASONS = ['late', 'broken', 'changed their mind']

const eventOf = (n: number): Record<string, unknown> => {
  const amount = Math.imul(n, 0x9e3779b1) >>> 16
  switch (n % 4) {
    case 0:
      return { type: 'placed', id: n, customer: n % 1000, cents: amount }
    case 1:
      return { type: 'paid', id: n, cents: amount, method: METHODS[n % 3] }
    case 2:
      return { type: 'shipped', id: n, carrier: CARRIERS[amount % 4], grams: amount }
    default:
      return { type: 'cancelled', id: n, reason: REASONS[n % 3], refund: amount }
  }
}

interface Any {
  readonly cents: number
  readonly grams: number
  readonly refund: number
  readonly method: string
  readonly carrier: string
  readonly reason: string
}

/** One number that each variant adds to in its own way. */
function weigh(variant: number, record: Any): number {
  switch (variant) {
    case 0:
      return record.cents
    case 1:
      return record.method === 'card' ? record.cents : 1
    case 2:
      return record.carrier === 'air' ? record.grams : 2
    default:
      return record.reason === 'late' ? record.refund : 3
  }
}

export const union = (): Promise<Part> =>
  inFolder(async folder => {
    const path = join(folder, 'union')
    const expected = await write(path)
    await sealAll(path)
    await using log = await openEmbeddedLog({ path })
    const topic = await log.topic(contract)
    const accessor = log.accessor<Any>()
    const scan = async () => {
      let sum = 0
      for await (const batch of log.scan(topic)) {
        accessor.reset(batch)
        while (accessor.next()) sum += weigh(accessor.variant, accessor.record)
      }
      check(sum === expected, 'the union has another sum')
      return ''
    }
    const { perSecond, perCpuSecond } = await interleave([{ name: 'union', units: EVENTS, run: scan }])
    return {
      goals: [{ name: 'scan union', value: perSecond['union'] ?? 0, goal: 2_500_000, unit: 'records/s', equal: null }],
      figures: {
        'scan union: records': EVENTS,
        'scan union: records per CPU second': perCpuSecond['union'] ?? 0,
        'scan union: variants': contract.variants.length,
      },
    }
  })

async function write(path: string): Promise<number> {
  await using log = await openEmbeddedLog({ path })
  const topic = await log.topic(contract)
  let sum = 0
  await appendEvents(log, EVENTS, (batch, n) => {
    const event = eventOf(n)
    sum += weigh(n % 4, event as unknown as Any)
    batch.event(topic, event)
  })
  return sum
}
