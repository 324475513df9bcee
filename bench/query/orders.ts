// The application of the orders with its HTTP server, for the parts that read its customers.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeLog } from '../replay/ours.ts'
import { Child } from './child.ts'

/** So many that each customer has one. */
export const ORDERS = 1_500_000
export const VIEW_PATH = '/v1/views/customers'
export const ROWS_PATH = `${VIEW_PATH}/rows/`

export interface Side {
  readonly name: string
  readonly url: string
  readonly child: Child
}

/** Its data folder, written when it is first asked for; the log is sealed. */
export async function ordersData(folder: string, orders: number): Promise<string> {
  const dataDir = join(folder, `query-${orders}`)
  if (!existsSync(dataDir)) await writeLog(dataDir, 'orders', orders)
  return dataDir
}

export async function startSide(name: string, child: Child): Promise<Side> {
  return { name, child, url: await child.line() }
}

export const startOrders = (dataDir: string): Promise<Side> =>
  startSide('mainstem', Child.start('server.ts', { app: 'orders', dataDir }))

export async function getJson<T>(url: string, body?: object): Promise<T> {
  const response = await fetch(url, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${url} was answered ${response.status} ${text.slice(0, 300)}`)
  return JSON.parse(text) as T
}
