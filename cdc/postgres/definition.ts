// `postgres('shop', …)`: a declaration. It opens nothing and loads no driver.
import type { DropReport, RecordSchema, SourceConnector, SourceContext } from '../../core/index.ts'
import { type DatabaseSource, declareSource } from '../connector/declare.ts'
import {
  declareMessages,
  declareOutbox,
  type EventContract,
  type EventSource,
  type MessageSource,
  type OutboxContract,
} from '../connector/declare-events.ts'
import { messageBytesOf } from '../connector/message-limit.ts'
import { createSetup, namesOf, type PostgresOptions, targetOf } from './setup.ts'

/** A PostgreSQL database as a source of tables. */
export type PostgresSource<N extends string = string> = DatabaseSource<N> & EventSource<N> & MessageSource<N>

/**
 * Declares a PostgreSQL database (15 to 18) whose tables are captured by logical replication.
 * @param name durable: topics, slot and tokens are named by it
 * @throws DEFINITION_INVALID
 * @example
 * const shop = postgres('shop', { url: env('SHOP_URL') })
 * const customers = shop.table('customers', { key: 'id', row: z.object({ id: z.int(), name: z.string() }) })
 */
export function postgres<const N extends string>(name: N, options: PostgresOptions): PostgresSource<N> {
  messageBytesOf(name, options.messageMiBMax)
  const source = declareSource(name, 'postgres', {
    open: context => openSource(name, options, context),
    drop: application => dropSource(name, options, application),
  })
  const outbox = (table: string, contract: OutboxContract<RecordSchema, unknown, string>) =>
    declareOutbox(source, table, contract)
  const messages = (prefix: string, contract: EventContract<RecordSchema, unknown, string>) =>
    declareMessages(source, prefix, contract)
  // Tables name the source itself.
  return Object.assign(source, { outbox, messages }) as unknown as PostgresSource<N>
}

async function openSource(name: string, options: PostgresOptions, context: SourceContext): Promise<SourceConnector> {
  const { PostgresTechnology } = await import('./technology.ts')
  const { openConnector } = await import('../connector/open.ts')
  return openConnector(new PostgresTechnology(createSetup(name, options, context)), context)
}

async function dropSource(name: string, options: PostgresOptions, application: string): Promise<DropReport> {
  const { dropFromServer } = await import('./drop.ts')
  return dropFromServer(name, targetOf(name, options), namesOf(name, options, application))
}
