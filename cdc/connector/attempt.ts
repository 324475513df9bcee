// One attempt of a connector: check, take the snapshot if one is needed, stream until something ends it. The connector
// makes a new one after each failure; nothing of an attempt outlives it but the log and the mirror.
import type { Appended, ControlEvent, ControlState, Log, LogTopic, Mirror, SourceMark } from '../../core/index.ts'
import { untilRoom } from './log-room.ts'
import type { RowReader } from './rows.ts'
import { type SnapshotProgress, SnapshotReader } from './snapshot.ts'
import { decideStart } from './start.ts'
import { Stream } from './stream.ts'
import type { CheckedTable, Preflight, Session, Snapshot, Technology } from './technology.ts'

export interface AttemptHost<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly controlTopic: LogTopic
  readonly mirror: Mirror
  readonly resnapshot: boolean
  readonly signal: AbortSignal
  onWaiting(reason: string | null): void
  onSnapshot(progress: SnapshotProgress | null): void
  onSnapshotDone(): void
  onStream(stream: Stream<P>, readerOf: (table: CheckedTable) => RowReader, tables: readonly CheckedTable[]): void
  onStreaming(): void
  onComplete(complete: P, position: number): void
  onServer(position: P): void
  /** There is no room in the log to read on, or there is again. */
  onPaused(paused: boolean): void
}

/** The position of the source that the log has. */
export function loggedPosition<P>(log: Log, { source, positions }: Technology<P>): P {
  const mark = log.mark(source)
  return mark ? positions.parse(mark.position) : positions.origin
}

/** Checks without any effect, and says how a connector would start. @throws SOURCE_…, CONTRACT_…, LOG_BEHIND_SLOT */
export async function checkStart<P>(
  host: Pick<AttemptHost<P>, 'technology' | 'log' | 'mirror' | 'resnapshot'>,
  session: Session<P>,
): Promise<{ readonly preflight: Preflight; readonly start: 'snapshot' | 'resume' }> {
  const { technology, log, mirror, resnapshot } = host
  const { control } = mirror
  const preflight = await session.check({ control, logged: loggedPosition(log, technology) })
  return { preflight, start: decideStart({ source: technology.source, control, preflight, resnapshot }) }
}

/** Runs until the connection ends, the log refuses, or `stop` of the stream; throws what ended it. */
export async function runAttempt<P>(host: AttemptHost<P>): Promise<void> {
  const { signal, technology } = host
  const session = await technology.connect({ signal, onWaiting: reason => host.onWaiting(reason) })
  try {
    const { preflight, start } = await checkStart(host, session)
    signal.throwIfAborted()
    if (start === 'snapshot') {
      await untilRoom(host.log, host.onPaused.bind(host), signal)
      await takeSnapshot(host, session, preflight)
    } else await session.waitUntilFree()
    signal.throwIfAborted()
    await stream(host, session, preflight)
  } finally {
    session.close()
  }
}

async function stream<P>(host: AttemptHost<P>, session: Session<P>, { tables }: Preflight): Promise<void> {
  const { technology, log, mirror } = host
  const start = loggedPosition(log, technology)
  const running = new Stream({
    technology,
    log,
    mirror,
    start,
    openFeed: sink => session.openFeed(start, sink),
    onStreaming: () => host.onStreaming(),
    onComplete: (complete, position) => host.onComplete(complete, position),
    onServer: position => host.onServer(position),
    onPaused: paused => host.onPaused(paused),
  })
  host.onStream(running, table => session.rowReader(table), tables)
  await running.run()
}

async function takeSnapshot<P>(host: AttemptHost<P>, session: Session<P>, preflight: Preflight): Promise<void> {
  const { technology, mirror } = host
  const { source, positions, onEvent } = technology
  const before = mirror.control
  const { identity, tables } = preflight
  if (before.phase === 'slot-requested' || before.phase === 'snapshot-started') await session.clear('unfinished')
  else await session.clear(before.phase !== 'none' || host.resnapshot ? 'finished' : 'none')
  const epoch = before.epoch + 1
  await control(host, 'slot-requested', { ...before, epoch, identity })
  const snapshot = await session.openSnapshot()
  try {
    const position = positions.format(snapshot.position)
    const state = { epoch, position, identity, tables: columnsOf(tables) }
    await control(host, 'snapshot-started', state, { source, position, snapshot: true })
    const progress = await readSnapshot(host, tables, snapshot, epoch === 1)
    await control(host, 'snapshot-ended', state, { source, position })
    await mirror.commit(host.log.end)
    host.onSnapshotDone()
    onEvent({ event: 'snapshot-ended', source, rows: progress.rows, seconds: progress.seconds })
    onEvent({ event: 'handover', source, position })
  } finally {
    host.onSnapshot(null)
    await snapshot.close()
  }
}

const columnsOf = (tables: readonly CheckedTable[]): Record<string, string[]> =>
  Object.fromEntries(
    tables.map(({ setup: { contract } }) => [contract.name, contract.type.fields.map(field => field.name)]),
  )

async function readSnapshot<P>(
  host: AttemptHost<P>,
  tables: readonly CheckedTable[],
  snapshot: Snapshot<P>,
  first: boolean,
): Promise<{ readonly rows: number; readonly seconds: number }> {
  const { technology, log, mirror, signal } = host
  const { source, onEvent } = technology
  const startedMs = performance.now()
  const rowsEstimated = tables.reduce((sum, table) => sum + table.rowsEstimated, 0)
  onEvent({ event: 'snapshot-started', source, tables: tables.length, rowsEstimated })
  host.onSnapshot({ rows: 0, rowsEstimated, rowsPerSecond: 0 })
  const reader = await snapshot.openReader()
  try {
    const { rows } = await new SnapshotReader({
      technology,
      log,
      mirror,
      tables,
      position: snapshot.position,
      first,
      onProgress: progress => host.onSnapshot(progress),
      onPaused: paused => host.onPaused(paused),
      signal,
    }).read(reader)
    return { rows, seconds: (performance.now() - startedMs) / 1_000 }
  } finally {
    reader.close()
  }
}

/** Appends a control record and waits until it is durable; the mirror then knows it too. */
async function control<P>(
  host: AttemptHost<P>,
  event: ControlEvent,
  state: Omit<ControlState, 'phase'>,
  mark?: SourceMark,
): Promise<Appended> {
  const batch = host.log.batch()
  batch.event(host.controlTopic, { source: host.technology.source, event, ...withoutPhase(state) })
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
