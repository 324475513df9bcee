// The dump of a binary log: how a server is asked to send its events from a position on, as to a replica.
// https://mariadb.com/kb/en/com_binlog_dump/ and https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_binlog_dump_gtid.html
import type { Client } from './connection.ts'
import { encodeMysqlSet } from './gtid.ts'
import { packetsOf } from './packets.ts'
import type { Flavour } from './setup.ts'

const COM_BINLOG_DUMP = 0x12
const COM_REGISTER_SLAVE = 0x15
const COM_BINLOG_DUMP_GTID = 0x1e
/** Where the events of a file begin. */
const FIRST_EVENT = 4
const THROUGH_GTID = 4
/** A silent server says so often that it lives. */
export const HEARTBEAT_MS = 5_000

/** Whether events come with checksums. The session is to be taken over for the dump then. */
export async function prepareDump(client: Client, flavour: Flavour, resume: string, strict: boolean): Promise<boolean> {
  const [row] = await client.query<{ checksum: string }>('select @@global.binlog_checksum as checksum')
  await client.query('set @master_binlog_checksum = @@global.binlog_checksum')
  await client.query(`set @master_heartbeat_period = ${HEARTBEAT_MS * 1_000_000}`)
  if (flavour === 'mariadb') {
    // Says that we know GTID events.
    await client.query('set @mariadb_slave_capability = 4')
    await client.query('set @slave_connect_state = ?', [resume])
    // Then a position that is not in the server's log is an error, not a reason to begin somewhere near.
    await client.query(`set @slave_gtid_strict_mode = ${strict ? 1 : 0}, @slave_gtid_ignore_duplicates = 0`)
  }
  return row?.checksum !== 'NONE'
}

export function registerPacket(serverId: number): Buffer {
  const payload = Buffer.alloc(18)
  payload[0] = COM_REGISTER_SLAVE
  payload.writeUInt32LE(serverId, 1)
  return packetsOf(payload)
}

export function dumpPacket(flavour: Flavour, serverId: number, resume: string): Buffer {
  if (flavour === 'mariadb') {
    const payload = Buffer.alloc(11)
    payload[0] = COM_BINLOG_DUMP
    payload.writeUInt32LE(FIRST_EVENT, 1)
    payload.writeUInt32LE(serverId, 7)
    return packetsOf(payload)
  }
  const set = encodeMysqlSet(resume)
  const head = Buffer.alloc(23)
  head[0] = COM_BINLOG_DUMP_GTID
  head.writeUInt16LE(THROUGH_GTID, 1)
  head.writeUInt32LE(serverId, 3)
  head.writeUInt32LE(0, 7)
  head.writeBigUInt64LE(BigInt(FIRST_EVENT), 11)
  head.writeUInt32LE(set.length, 19)
  return packetsOf(Buffer.concat([head, set]))
}
