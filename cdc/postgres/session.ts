// One attempt of a connector: check, take the snapshot if one is needed, stream until something ends it. The connector
// makes a new one after each failure; nothing of an attempt outlives it but the log and the mirror.
import type { Appended, ControlEvent, ControlState, Log, LogTopic, Mirror, SourceMark } from '../../core/index.ts'
import { untilRoom } from '../connector/log-room.ts'
import { readTables } from './catalog.ts'
import { type Client, connect } from './connection.ts'
import { watchLocks } from './lock-watch.ts'
import { formatLsn, parseLsn } from './lsn.ts'
import type { Relation } from './pgoutput.ts'
import { type Checked, type CheckedTable, checkTable, preflight } from './preflight.ts'
import { ensurePublication, unpublishedTables } from './publication.ts'
import type { Setup } from './setup.ts'
import { createSlot, dropSlot, readSlot, waitUntilFree } from './slot.ts'
import { type SnapshotProgress, SnapshotReader } from './snapshot.ts'
import { decideStart } from './start.ts'
import { ReplicationStream } from './stream.ts'
import { loadTypes, type PgType } from './types.ts'

export interface SessionHost {
  readonly setup: Setup
  readonly log: Log
  readonly controlTopic: LogTopic
  readonly mirror: Mirror
  readonly resnapshot: boolean
  readonly signal: AbortSignal
  onWaiting(reason: string | null): void
  onSnapshot(progress: SnapshotProgress | null): void
  onSnapshotDone(): void
  onStream(stream: ReplicationStream): void
  onStreaming(): void
  onComplete(complete: bigint, position: number): void
  onServer(lsn: bigint): void
  /** There is no room in the log to read on, or there is again. */
  onPaused(paused: boolean): void
}

export const loggedLsn = (log: Log, source: string): bigint => {
  const mark = log.mark(source)
  return mark ? parseLsn(mark.position) : 0n
}

/** Checks without any effect, and says how a connector would start. @throws SOURCE_…, CONTRACT_…, LOG_BEHIND_SLOT */
export async function checkStart(host: Pick<SessionHost, 'setup' | 'log' | 'mirror' | 'resnapshot'>, sql: Client) {
  const { setup, log, mirror, resnapshot } = host
  const checked = await preflight(setup, sql)
  const slot = await readSlot(sql, setup.slot)
  const { control } = mirror
  const logged = loggedLsn(log, setup.source)
  const unpublished = await unpublishedTables(setup, sql, checked.tables)
  const start = decideStart({ setup, control, identity: checked.identity, slot, unpublished, logged, resnapshot })
  return { checked, start }
}

/** Runs until the connection ends, the log refuses, or `stop` of the stream; throws what ended it. */
export async function runSession(host: SessionHost): Promise<void> {
  const { setup, signal } = host
  const sql = await connect(setup.target)
  const end = () => void sql.end().catch(() => {})
  try {
    const { checked, start } = await watchLocks(setup.target, sql, host.onWaiting.bind(host), () =>
      checkStart(host, sql),
    )
    signal.throwIfAborted()
    if (start === 'snapshot') {
      await untilRoom(host.log, host.onPaused.bind(host), signal)
      await takeSnapshot(host, sql, checked)
    } else await waitUntilFree(sql, setup.source, setup.slot, host.onWaiting.bind(host), signal)
    signal.throwIfAborted()
    await stream(host, checked)
  } finally {
    end()
  }
}

async function stream(host: SessionHost, checked: Checked): Promise<void> {
  const { setup, log, mirror } = host
  const replication = new ReplicationStream({
    setup,
    log,
    mirror,
    tables: checked.tables,
    start: loggedLsn(log, setup.source),
    recheck: (relation, table) => recheck(setup, relation, table),
    onStreaming: () => host.onStreaming(),
    onComplete: (complete, position) => host.onComplete(complete, position),
    onServer: lsn => host.onServer(lsn),
    onPaused: paused => host.onPaused(paused),
    onEvent: setup.onEvent,
  })
  host.onStream(replication)
  await replication.run()
}

/** A table was altered: its contract is checked again, and the types that the stream names are read. */
async function recheck(setup: Setup, relation: Relation, table: CheckedTable): Promise<readonly PgType[]> {
  const sql = await connect(setup.target)
  try {
    const [catalog] = await readTables(sql, [table.setup.pg])
    const problem = catalog && checkTable(table.setup, catalog)[0]
    if (problem) throw problem
    const resolve = await loadTypes(
      sql,
      relation.columns.map(column => column.typeId),
    )
    return relation.columns.map(({ typeId, typeModifier }) => {
      const known = catalog?.columns.find(column => column.typeId === typeId && column.typeModifier === typeModifier)
      return known?.type ?? resolve({ typeId, modifier: typeModifier, name: 'altered type' })
    })
  } finally {
    await sql.end().catch(() => {})
  }
}

async function takeSnapshot(host: SessionHost, sql: Client, checked: Checked): Promise<void> {
  const { setup, mirror, signal } = host
  const { source } = setup
  const before = mirror.control
  // What uses a slot whose snapshot this log knows to be unfinished is what is left of a process of ours that was killed.
  const isLeftOver = before.phase === 'slot-requested' || before.phase === 'snapshot-started'
  const tables = checked.tables.map(table => table.catalog)
  await watchLocks(setup.target, sql, host.onWaiting.bind(host), () => ensurePublication(setup, sql, tables))
  if (isLeftOver) {
    await dropSlot(sql, source, setup.slot, true)
  } else if (before.phase !== 'none' || host.resnapshot) {
    await waitUntilFree(sql, source, setup.slot, host.onWaiting.bind(host), signal)
    await dropSlot(sql, source, setup.slot, false)
  }
  const epoch = before.epoch + 1
  await control(host, 'slot-requested', { ...before, epoch, identity: checked.identity })
  const replication = await connect(setup.target, 'replication')
  try {
    const slot = await createSlot(replication, sql, setup.slot, host.onWaiting.bind(host), signal)
    const position = formatLsn(slot.consistentPoint)
    const state = { epoch, position, identity: checked.identity, tables: tablesOf(setup) }
    await control(host, 'snapshot-started', state, { source, position, snapshot: true })
    const progress = await readSnapshot(host, checked, slot, epoch === 1)
    await control(host, 'snapshot-ended', state, { source, position })
    await mirror.commit(host.log.end)
    host.onSnapshotDone()
    const { onEvent } = setup
    onEvent({ event: 'snapshot-ended', source, rows: progress.rows, seconds: progress.seconds })
    onEvent({ event: 'handover', source, position })
  } finally {
    host.onSnapshot(null)
    await replication.end().catch(() => {})
  }
}

const tablesOf = (setup: Setup): Record<string, string[]> =>
  Object.fromEntries(setup.tables.map(({ contract }) => [contract.name, contract.type.fields.map(field => field.name)]))

async function readSnapshot(
  host: SessionHost,
  checked: Checked,
  slot: { readonly consistentPoint: bigint; readonly snapshot: string },
  first: boolean,
): Promise<{ readonly rows: number; readonly seconds: number }> {
  const { setup, log, mirror, signal } = host
  const { source, onEvent } = setup
  const startedMs = performance.now()
  const rowsEstimated = checked.tables.reduce((sum, table) => sum + table.catalog.rowsEstimated, 0)
  onEvent({ event: 'snapshot-started', source, tables: checked.tables.length, rowsEstimated })
  host.onSnapshot({ rows: 0, rowsEstimated, rowsPerSecond: 0 })
  const client = await connect(setup.target)
  try {
    await client.query('begin transaction isolation level repeatable read, read only')
    await client.query(`set transaction snapshot '${slot.snapshot.replaceAll("'", "''")}'`)
    const reader = new SnapshotReader({
      source,
      log,
      mirror,
      tables: checked.tables,
      consistentPoint: slot.consistentPoint,
      first,
      onEvent,
      onProgress: progress => host.onSnapshot(progress),
      onPaused: paused => host.onPaused(paused),
      signal,
    })
    const { rows } = await watchLocks(setup.target, client, host.onWaiting.bind(host), () => reader.read(client))
    return { rows, seconds: (performance.now() - startedMs) / 1_000 }
  } finally {
    void client.end().catch(() => {})
  }
}

/** Appends a control record and waits until it is durable; the mirror then knows it too. */
async function control(
  host: SessionHost,
  event: ControlEvent,
  state: Omit<ControlState, 'phase'>,
  mark?: SourceMark,
): Promise<Appended> {
  const batch = host.log.batch()
  batch.event(host.controlTopic, { source: host.setup.source, event, ...withoutPhase(state) })
  const appended = await batch.commit(mark)
  host.mirror.control = { ...state, phase: event }
  return appended
}

const withoutPhase = ({ epoch, position, identity, tables }: Omit<ControlState, 'phase'>) => ({
  epoch,
  position,
  identity,
  tables,
})
