// The other side of `bench cdc`: what bench/peers runs, told where this database is.
import type { ChildProcess } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import type { Peers } from '../peers.ts'
import { type Database, PUBLICATION } from './database.ts'
import type { Captured } from './ours.ts'

/** As a publication's and a slot's name in PostgreSQL. */
export const SLOT = 'peer'

const argumentsOf = async (folder: string, { server }: Database, mode: string, pollMs?: number) => ({
  mode,
  folder: await mkdtemp(join(folder, 'debezium-')),
  port: server.port,
  database: 'postgres',
  slot: SLOT,
  publication: PUBLICATION,
  table: 'shop.orders',
  ...(pollMs === undefined ? {} : { poll: pollMs }),
})

const options = ({ server }: Database) => ({
  // Its small writes are not to wait for each other, and connections stay open.
  java: ['-Dsun.net.httpserver.nodelay=true', '-Dsun.net.httpserver.maxIdleConnections=10000'],
  environment: { PGPASSWORD: new URL(server.url()).password },
})

export async function debezium(
  peers: Peers,
  folder: string,
  database: Database,
  mode: 'snapshot' | 'drain',
  events: number,
): Promise<Captured> {
  const told = { ...(await argumentsOf(folder, database, mode)), events }
  return peers.run<Captured>('debezium', 'DebeziumPeer', told, options(database))
}

/** Rows in memory behind an HTTP server; its first line is the port. */
export async function debeziumServer(
  peers: Peers,
  folder: string,
  database: Database,
  pollMs?: number,
): Promise<ChildProcess> {
  return peers.start(
    'debezium',
    'DebeziumPeer',
    await argumentsOf(folder, database, 'serve', pollMs),
    options(database),
  )
}
