// Global transaction ids, and positions made of them. MariaDB: `0-1-100,1-2-7`, the last transaction of each domain. MySQL: the
// set of all transactions executed, `3e11fa47-…:1-77:79,…`. Both are kept as ranges of sequence numbers by what counts them.
//
// A prepared XA transaction stands in the binary log before it is known whether it commits. While one is open, reading would have to
// begin again before it: its GTID is kept behind a semicolon, `0-1-120;0-1-95`.
import { fail } from '../../core/index.ts'
import type { Positions } from '../connector/positions.ts'

/** One transaction: `0-1-100` or `3e11fa47-…:23`. */
export interface Gtid {
  /** What counts it: MariaDB's domain, MySQL's server uuid (and tag). */
  readonly origin: string
  /** The server that wrote it; MariaDB only. */
  readonly server: number
  readonly sequence: number
}

type Range = readonly [from: number, to: number]

interface Counted {
  readonly server: number
  /** Ascending, neither touching nor overlapping. */
  readonly ranges: readonly Range[]
}

/** Immutable. */
export class GtidPosition {
  readonly counted: ReadonlyMap<string, Counted>
  /** Prepared XA transactions that are neither committed nor rolled back. */
  readonly prepared: readonly Gtid[]

  constructor(counted: ReadonlyMap<string, Counted>, prepared: readonly Gtid[] = []) {
    this.counted = counted
    this.prepared = prepared
  }

  has({ origin, sequence }: Gtid): boolean {
    return this.counted.get(origin)?.ranges.some(([from, to]) => from <= sequence && sequence <= to) ?? false
  }

  includes(wanted: GtidPosition): boolean {
    for (const [origin, { ranges }] of wanted.counted) {
      const own = this.counted.get(origin)?.ranges
      if (!own || !ranges.every(([from, to]) => own.some(range => range[0] <= from && to <= range[1]))) return false
    }
    return true
  }

  withPrepared(prepared: readonly Gtid[]): GtidPosition {
    return prepared.length === 0 && this.prepared.length === 0 ? this : new GtidPosition(this.counted, prepared)
  }
}

const EMPTY = new GtidPosition(new Map())

export interface GtidPositions extends Positions<GtidPosition> {
  /** The position after a transaction that follows it. */
  add(position: GtidPosition, gtid: Gtid): GtidPosition
  formatGtid(gtid: Gtid): string
  /** What to tell the server that we have: reading then begins with what is missing, prepared transactions included. */
  resumeText(position: GtidPosition): string
}

const malformed = (text: string, what: string, hint: string) =>
  fail('TOKEN_MALFORMED', `'${text.slice(0, 200)}' is not a position of ${what}`, { hint })

function split(text: string): [position: string, prepared: string] {
  const at = text.indexOf(';')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

const listOf = (text: string): string[] =>
  text
    .split(',')
    .map(each => each.trim())
    .filter(each => each !== '')

// -- MariaDB

const MARIADB_GTID = /^(\d{1,10})-(\d{1,10})-(\d{1,16})$/

function parseMariadbGtid(text: string): Gtid {
  const match = MARIADB_GTID.exec(text)
  const sequence = Number(match?.[3])
  if (!match || !Number.isSafeInteger(sequence)) {
    throw malformed(text, 'MariaDB', "take the text of @@gtid_binlog_pos, like '0-1-100'")
  }
  return { origin: String(Number(match[1])), server: Number(match[2]), sequence }
}

const formatMariadbGtid = ({ origin, server, sequence }: Gtid): string => `${origin}-${server}-${sequence}`

/** In a domain everything before a transaction comes before it, so only the last one counts. */
function addMariadb({ counted, prepared }: GtidPosition, { origin, server, sequence }: Gtid): GtidPosition {
  const next = new Map(counted)
  next.set(origin, { server, ranges: [[0, sequence]] })
  return new GtidPosition(next, prepared)
}

const formatMariadb = (counted: GtidPosition['counted']): string =>
  [...counted]
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([origin, { server, ranges }]) => `${origin}-${server}-${ranges[0]![1]}`)
    .join(',')

export const mariadbPositions: GtidPositions = {
  origin: EMPTY,
  parse(text) {
    const [position, prepared] = split(text)
    const parsed = listOf(position).reduce((sum, each) => addMariadb(sum, parseMariadbGtid(each)), EMPTY)
    return parsed.withPrepared(listOf(prepared).map(parseMariadbGtid))
  },
  format: ({ counted, prepared }) =>
    formatMariadb(counted) + (prepared.length > 0 ? `;${prepared.map(formatMariadbGtid).join(',')}` : ''),
  includes: (complete, wanted) => complete.includes(wanted),
  bytesBetween: () => null,
  add: addMariadb,
  formatGtid: formatMariadbGtid,
  resumeText({ counted, prepared }) {
    const from = new Map(counted)
    for (const { origin, server, sequence } of prepared) {
      const last = from.get(origin)?.ranges[0]?.[1] ?? 0
      if (sequence > last) continue
      // The one before it may be another server's; strict mode asks for the very transaction, so such a start is not strict.
      if (sequence <= 1) from.delete(origin)
      else from.set(origin, { server, ranges: [[0, sequence - 1]] })
    }
    return formatMariadb(from)
  },
}

// -- MySQL

/** `uuid:1-77:79`, since 8.3 also `uuid:tag:1-5`. */
const MYSQL_PART =
  /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})((?::[a-z_][a-z0-9_]{0,31}|:\d+(?:-\d+)?)+)$/

function parseMysql(text: string): Map<string, Counted> {
  const counted = new Map<string, Counted>()
  for (const part of listOf(text.toLowerCase())) {
    const match = MYSQL_PART.exec(part.replaceAll(/\s/g, ''))
    if (!match?.[1] || !match[2]) throw malformed(text, 'MySQL', 'take the text of @@global.gtid_executed')
    let origin = match[1]
    for (const piece of match[2].slice(1).split(':')) {
      if (!/^\d/.test(piece)) {
        origin = `${match[1]}:${piece}`
        continue
      }
      const [from = 0, to = from] = piece.split('-').map(Number)
      const ranges = withRange(counted.get(origin)?.ranges ?? [], from, to)
      counted.set(origin, { server: 0, ranges })
    }
  }
  return counted
}

/** Ranges with one more; the common case, the number behind the last one, copies little. */
function withRange(ranges: readonly Range[], from: number, to: number): readonly Range[] {
  const last = ranges.at(-1)
  if (last && from === last[1] + 1) return [...ranges.slice(0, -1), [last[0], to]]
  const merged: [number, number][] = []
  for (const [a, b] of [...ranges, [from, to] as const].sort((x, y) => x[0] - y[0])) {
    const before = merged.at(-1)
    if (before && a <= before[1] + 1) before[1] = Math.max(before[1], b)
    else merged.push([a, b])
  }
  return merged
}

/** Ranges with one number less. */
const without = (ranges: readonly Range[], number: number): readonly Range[] =>
  ranges.flatMap(([from, to]): Range[] => {
    if (number < from || number > to) return [[from, to]]
    return [
      ...(from < number ? [[from, number - 1] as const] : []),
      ...(number < to ? [[number + 1, to] as const] : []),
    ]
  })

const formatMysqlGtid = ({ origin, sequence }: Gtid): string => `${origin}:${sequence}`

function parseMysqlGtid(text: string): Gtid {
  const [[origin, { ranges }] = ['', { ranges: [] as readonly Range[] }]] = [...parseMysql(text)]
  return { origin, server: 0, sequence: ranges[0]?.[0] ?? 0 }
}

const formatMysql = (counted: GtidPosition['counted']): string =>
  [...counted]
    .filter(([, { ranges }]) => ranges.length > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([origin, { ranges }]) => `${origin}:${ranges.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join(':')}`)
    .join(',')

export const mysqlPositions: GtidPositions = {
  origin: EMPTY,
  parse(text) {
    const [position, prepared] = split(text)
    return new GtidPosition(parseMysql(position), listOf(prepared).map(parseMysqlGtid))
  },
  format: ({ counted, prepared }) =>
    formatMysql(counted) + (prepared.length > 0 ? `;${prepared.map(formatMysqlGtid).join(',')}` : ''),
  includes: (complete, wanted) => complete.includes(wanted),
  bytesBetween: () => null,
  add({ counted, prepared }, { origin, sequence }) {
    const next = new Map(counted)
    next.set(origin, { server: 0, ranges: withRange(counted.get(origin)?.ranges ?? [], sequence, sequence) })
    return new GtidPosition(next, prepared)
  },
  formatGtid: formatMysqlGtid,
  resumeText({ counted, prepared }) {
    const from = new Map(counted)
    for (const { origin, sequence } of prepared) {
      const own = from.get(origin)
      if (own) from.set(origin, { server: 0, ranges: without(own.ranges, sequence) })
    }
    return formatMysql(from)
  },
}

/** The same for COM_BINLOG_DUMP_GTID: counts and numbers are 8 bytes, a range's end is the first number behind it. */
export function encodeMysqlSet(text: string): Buffer {
  const counted = parseMysql(text)
  const parts: Buffer[] = [u64(counted.size)]
  for (const [origin, { ranges }] of counted) {
    parts.push(Buffer.from(origin.slice(0, 36).replaceAll('-', ''), 'hex'), u64(ranges.length))
    for (const [from, to] of ranges) parts.push(u64(from), u64(to + 1))
  }
  return Buffer.concat(parts)
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
