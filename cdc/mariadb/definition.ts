// `mariadb('billing', …)` and `mysql('billing', …)`: declarations. They open nothing and load no driver.
import { type DropReport, fail, type RecordSchema, type SourceConnector, type SourceContext } from '../../core/index.ts'
import { type DatabaseSource, declareSource } from '../connector/declare.ts'
import { declareOutbox, type EventSource, type OutboxContract } from '../connector/declare-events.ts'
import { messageBytesOf } from '../connector/message-limit.ts'
import { createSetup, type Flavour, type MariadbOptions } from './setup.ts'

/** A MariaDB or MySQL database as a source of tables and outboxes. */
export type MariadbSource<N extends string = string> = DatabaseSource<N> & EventSource<N>

/**
 * Declares a MariaDB database (10.6 and newer) whose tables are captured from its binary log.
 * @param name durable: topics and tokens are named by it
 * @throws DEFINITION_INVALID
 * @example
 * const billing = mariadb('billing', { url: env('BILLING_URL') })
 * const invoices = billing.table('invoices', { key: 'id', row: z.object({ id: z.int(), total: minorUnits(2) }) })
 */
export function mariadb<const N extends string>(name: N, options: MariadbOptions): MariadbSource<N> {
  return declare(name, 'mariadb', options)
}

/**
 * Declares a MySQL database (8.0 and newer, with gtid_mode = ON) whose tables are captured from its binary log.
 * @param name durable: topics and tokens are named by it
 * @throws DEFINITION_INVALID
 */
export function mysql<const N extends string>(name: N, options: MariadbOptions): MariadbSource<N> {
  return declare(name, 'mysql', options)
}

const SERVER_ID_MAX = 0xffff_ffff

function declare<const N extends string>(name: N, flavour: Flavour, options: MariadbOptions): MariadbSource<N> {
  checkServerId(name, options.serverId)
  messageBytesOf(name, options.messageMiBMax)
  const source = declareSource(name, flavour, {
    open: context => openSource(name, flavour, options, context),
    drop: () => dropSource(name),
  })
  const outbox = (table: string, contract: OutboxContract<RecordSchema, unknown, string>) =>
    declareOutbox(source, table, contract)
  // Tables name the source itself.
  return Object.assign(source, { outbox }) as unknown as MariadbSource<N>
}

function checkServerId(source: string, value: number | undefined): void {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= SERVER_ID_MAX)) return
  throw fail('DEFINITION_INVALID', `serverId of source ${source} is ${value}`, { hint: `take 1 to ${SERVER_ID_MAX}` })
}

async function openSource(
  name: string,
  flavour: Flavour,
  options: MariadbOptions,
  context: SourceContext,
): Promise<SourceConnector> {
  const { MariadbTechnology } = await import('./technology.ts')
  const { openConnector } = await import('../connector/open.ts')
  return openConnector(new MariadbTechnology(createSetup(name, flavour, options, context)), context)
}

/** The server keeps nothing for a source: its binary log is there for all. */
const dropSource = async (source: string): Promise<DropReport> => ({ source, dropped: [] })
