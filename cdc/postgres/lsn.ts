// Log sequence numbers: 64-bit places in PostgreSQL's write-ahead log. bigint inside, `16/B374D848` at every edge.
import { fail } from '../../core/index.ts'
import type { Positions } from '../connector/positions.ts'

const LSN = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/

export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}

/** @throws TOKEN_MALFORMED */
export function parseLsn(text: string): bigint {
  const match = LSN.exec(text)
  if (!match) {
    throw fail('TOKEN_MALFORMED', `'${text}' is not a PostgreSQL LSN`, {
      hint: "take the text of pg_current_wal_insert_lsn(), like '0/16B3748'",
    })
  }
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)
}

export const lsnPositions: Positions<bigint> = {
  origin: 0n,
  parse: parseLsn,
  format: formatLsn,
  includes: (complete, wanted) => complete >= wanted,
  bytesBetween: (from, to) => Math.max(0, Number(to - from)),
}

export const readLsn = (bytes: Buffer, at: number): bigint => bytes.readBigUInt64BE(at)

/** What `writeToken` needs of a client: `pg`'s Client and Pool have it. */
export interface QueryClient {
  query(sql: string): Promise<{ readonly rows: readonly unknown[] }>
}

/**
 * The token of everything committed so far through `client`, which is connected to the source's primary server: read with
 * `after: token` to see it. Take it after COMMIT.
 * @example await accounts.get(42, { after: await writeToken(pg, shop) })
 */
export async function writeToken<const N extends string>(
  client: QueryClient,
  source: { readonly name: N },
): Promise<`${N}:${string}`> {
  const { rows } = await client.query('select pg_current_wal_insert_lsn()::text as lsn')
  const first = rows[0]
  const lsn = typeof first === 'object' && first !== null && 'lsn' in first ? String(first.lsn) : ''
  return `${source.name}:${formatLsn(parseLsn(lsn))}`
}
