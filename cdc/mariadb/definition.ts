// `mariadb('billing', …)` and `mysql('billing', …)`: declarations. They open nothing and load no driver.
import { type DropReport, fail, type SourceConnector, type SourceContext } from '../../core/index.ts'
import { type DatabaseSource, declareSource } from '../connector/declare.ts'
import { createSetup, type Flavour, type MariadbOptions } from './setup.ts'

/** A MariaDB or MySQL database as a source of tables. */
export type MariadbSource<N extends string = string> = DatabaseSource<N>

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
const MESSAGE_MIB_MAX = 1_024

function declare<const N extends string>(name: N, flavour: Flavour, options: MariadbOptions): MariadbSource<N> {
  check(name, 'serverId', options.serverId, SERVER_ID_MAX)
  check(name, 'messageMiBMax', options.messageMiBMax, MESSAGE_MIB_MAX)
  return declareSource(name, flavour, {
    open: context => openSource(name, flavour, options, context),
    drop: () => dropSource(name),
  })
}

function check(source: string, option: string, value: number | undefined, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return
  throw fail('DEFINITION_INVALID', `${option} of source ${source} is ${value}`, { hint: `take 1 to ${most}` })
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
