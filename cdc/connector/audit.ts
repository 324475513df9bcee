// An audit: the rows that the database has, and those that the mirror had, at one position of the source. The database shows them
// in a snapshot whose position is exact; the mirror as it is frozen a moment later, less what the log says happened since.
// Both sides are summed by parts of a table (row counts and hashes, whatever the order), so that memory does not grow with it; the
// keys of parts that differ are then compared one by one. Everything else goes on meanwhile.

import {
  type AnyRow,
  type AuditProgress,
  type AuditReport,
  type AuditRequest,
  type FrozenMirror,
  type JobContext,
  type MirrorTable,
  Recorder,
  type RefusedRow,
  type TableAudit,
} from '../../core/index.ts'
import { type Rows, TableComparison, Telling } from './audit-table.ts'
import { durable } from './between.ts'
import { announceWaiting } from './connector.ts'
import { changedSince, type LoggedMirror, MirrorRows, NOTHING, type Since } from './mirror-at.ts'
import type { Stream } from './stream.ts'
import { tablesNamed } from './tables.ts'
import type { Known } from './technology.ts'

export interface AuditHost<P> extends LoggedMirror<P> {
  readonly known: Known<P>
  /** Freezes the mirror between two transactions, when it has all up to `position`. */
  freeze(position: P): Promise<FrozenAt>
  /** What repairs go through. */
  readonly stream: Stream<P>
}

export interface FrozenAt {
  readonly mirror: FrozenMirror
  /** The log's position then. */
  readonly logPosition: number
}

export async function runAudit<P>(
  host: AuditHost<P>,
  request: AuditRequest,
  { signal, progress }: JobContext<AuditProgress>,
): Promise<AuditReport> {
  const startedMs = performance.now()
  const { technology, log } = host
  const session = await technology.connect({
    signal,
    onWaiting: reason => announceWaiting(technology, reason),
  })
  try {
    const preflight = await session.check(host.known)
    const named = tablesNamed(technology.source, technology.tables, request.tables)
    const tables = preflight.tables.filter(({ setup }) => named.includes(setup))
    const before = log.end
    const snapshot = await session.openExactSnapshot()
    try {
      const reader = await snapshot.openReader()
      const end = () => reader.destroy()
      signal.addEventListener('abort', end, { once: true })
      try {
        signal.throwIfAborted()
        const frozen = await host.freeze(snapshot.position)
        try {
          const since = await changedSince(host, before, frozen.logPosition, snapshot.position)
          const telling = new Telling(tables, progress)
          const audits: TableAudit[] = []
          let repaired: number | null = null
          for (const table of tables) {
            const mirrored = host.mirror.table(table.setup.contract.name)
            const rows = new MirrorRows(frozen.mirror, mirrored, since.get(mirrored.name) ?? NOTHING)
            const comparison = new TableComparison(table, mirrored, rows, reader, request, telling, signal)
            const audit = await comparison.run()
            audits.push(audit)
            if (!request.repair || audit.mismatches === 0) continue
            repaired ??= 0
            for await (const rows of comparison.differing()) {
              repaired += await host.stream.between(async pipeline => {
                await durable({ technology, pipeline })
                const later = await changedSince(host, before, log.end, snapshot.position)
                const count = repair(host, mirrored, rows, later.get(mirrored.name) ?? NOTHING)
                await durable({ technology, pipeline })
                return count
              })
            }
          }
          const equal = audits.every(({ mismatches }) => mismatches === 0)
          const position = technology.positions.format(snapshot.position)
          return { equal, position, seconds: (performance.now() - startedMs) / 1_000, tables: audits, repaired }
        } finally {
          frozen.mirror.close()
        }
      } finally {
        signal.removeEventListener('abort', end)
        reader.close()
      }
    } finally {
      await snapshot.close()
    }
  } finally {
    session.close()
  }
}

/** Has the log say what the database had at the audit's position, but of keys that changed since: the stream has newer rows of those. */
function repair<P>({ log, mirror, stream }: AuditHost<P>, table: MirrorTable, rows: Rows, since: Since): number {
  const batch = log.batch()
  const recorder = new Recorder(mirror, batch)
  let repaired = 0
  try {
    for (const [id, row] of rows) {
      if (since.has(id)) continue
      const key = Buffer.from(id, 'latin1')
      if (row) recorder.upsert(table, key, recorder.encode(table, row), undefined, () => refusedRow(table, key, row))
      else recorder.deleteKey(table, key)
      repaired++
    }
    if (batch.count > 0) stream.append(batch, recorder.takeParked())
  } catch (error) {
    // The mirror has what the log has not.
    stream.giveUp(error)
    throw error
  }
  return repaired
}

/** It was encoded before, so that the log does not refuse it now. */
function refusedRow({ contract: { key } }: MirrorTable, bytes: Buffer, row: AnyRow): RefusedRow {
  const raw = Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value === null ? null : String(value)]),
  )
  return { key: bytes, keyText: key.format(key.decode(bytes)), raw, error: '' }
}
