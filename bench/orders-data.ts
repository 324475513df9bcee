// Events as files that every engine of a comparison reads: NDJSON lines, or orders as records of 24 bytes (bench/peers/README.md
// has both). The same events each time.
import { open } from 'node:fs/promises'
import type { BinaryLayout } from '../core/index.ts'
import { type Order, STATUSES } from './log-data.ts'

export type EventsFormat = 'ndjson' | 'binary'

/** An order in 24 bytes. */
export const ORDER_RECORD = {
  fields: [
    { field: 'order_id', type: 'u32' },
    { field: 'customer_id', type: 'u32' },
    { field: 'amount_cents', type: 'u32' },
    { field: 'status', type: 'u32' },
    { field: 'updated_at', type: 'i64' },
  ],
} as const satisfies BinaryLayout
const RECORD_BYTES = 24
const EVENTS_PER_WRITE = 20_000

/** Writes the first `count` events of a source as lines. */
export const writeLines = (path: string, source: () => object, count: number): Promise<void> =>
  write(path, source, count, events => events.map(event => `${JSON.stringify(event)}\n`).join(''))

/** Writes the first `count` orders as records. */
export const writeRecords = (path: string, source: () => Order, count: number): Promise<void> =>
  write(path, source, count, binary)

async function write<E>(
  path: string,
  source: () => E,
  count: number,
  encode: (events: readonly E[]) => string | Uint8Array,
): Promise<void> {
  await using file = await open(path, 'wx')
  for (let from = 0; from < count; from += EVENTS_PER_WRITE)
    await file.appendFile(encode(Array.from({ length: Math.min(EVENTS_PER_WRITE, count - from) }, source)))
}

function binary(orders: readonly Order[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(orders.length * RECORD_BYTES))
  orders.forEach((order, n) => {
    const at = n * RECORD_BYTES
    view.setUint32(at, order.order_id, true)
    view.setUint32(at + 4, order.customer_id, true)
    view.setUint32(at + 8, order.amount_cents, true)
    view.setUint32(at + 12, STATUSES.indexOf(order.status), true)
    view.setBigInt64(at + 16, BigInt(order.updated_at), true)
  })
  return new Uint8Array(view.buffer)
}
