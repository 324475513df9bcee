// The orders as files that every engine of a comparison reads, and what comes out when they are folded by customer: NDJSON
// lines, or records of 24 bytes (bench/peers/README.md has both). The same events each time.
import { open } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { CUSTOMERS, type Order, orderSource, STATUSES } from './log-data.ts'

export type OrdersFormat = 'ndjson' | 'binary'

export const BINARY_BYTES = 24
const RECORDS_PER_WRITE = 20_000

/** Writes the first `count` orders. */
export async function writeOrders(path: string, format: OrdersFormat, count: number): Promise<void> {
  const source = orderSource()
  await using file = await open(path, 'wx')
  for (let from = 0; from < count; from += RECORDS_PER_WRITE) {
    const orders = Array.from({ length: Math.min(RECORDS_PER_WRITE, count - from) }, source)
    const bytes = format === 'ndjson' ? orders.map(order => `${JSON.stringify(order)}\n`).join('') : binary(orders)
    await file.appendFile(bytes)
  }
}

function binary(orders: readonly Order[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(orders.length * BINARY_BYTES))
  orders.forEach((order, n) => {
    const at = n * BINARY_BYTES
    view.setUint32(at, order.order_id, true)
    view.setUint32(at + 4, order.customer_id, true)
    view.setUint32(at + 8, order.amount_cents, true)
    view.setUint32(at + 12, STATUSES.indexOf(order.status), true)
    view.setBigInt64(at + 16, BigInt(order.updated_at), true)
  })
  return new Uint8Array(view.buffer)
}

/** Of a customer: count, sum of cents, count per status, last time. */
const FIELDS = 3 + STATUSES.length
const SUM = 1
const FIRST_STATUS = 2
const LAST = FIELDS - 1

/** What the first `count` orders come to, folded plainly: the hash that the answer of each engine must have. */
export function ordersHash(count: number): number {
  const source = orderSource()
  const totals = new Float64Array(CUSTOMERS * FIELDS)
  for (let n = 0; n < count; n++) {
    const order = source()
    const at = order.customer_id * FIELDS
    totals[at]!++
    totals[at + SUM]! += order.amount_cents
    totals[at + FIRST_STATUS + STATUSES.indexOf(order.status)]!++
    totals[at + LAST] = Math.max(totals[at + LAST]!, order.updated_at)
  }
  let hash = 0
  for (let id = 0; id < CUSTOMERS; id++) {
    const customer = totals.subarray(id * FIELDS, (id + 1) * FIELDS)
    if (customer[0] !== 0) hash = addCustomer(hash, id, customer)
  }
  return hash
}

/**
 * An order-independent hash of a view: the sum of the CRC-32 of each customer's
 * `id|count|sum|placed|paid|shipped|cancelled|last` in decimal. At most 2^21 customers: below 2^53.
 */
export const addCustomer = (hash: number, id: number, customer: Iterable<number>): number =>
  hash + crc32([id, ...customer].join('|'))
