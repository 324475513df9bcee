// One attempt of a connector: check, take the snapshot if one is needed, stream until something ends it, with a snapshot beside it
// where one is under way. The connector makes a new attempt after each failure; nothing of it outlives it but the log
// and the mirror.
import type { Appended, ControlState, Log, LogTopic, Mirror, SourceMark } from '../../core/index.ts'
import { Control, unread } from './control.ts'
import { untilRoom } from './log-room.ts'
import { OutboxSweeper, readOutboxes } from './outbox.ts'
import { Progress } from './progress.ts'
import type { RowReader } from './rows.ts'
import { SnapshotReader } from './snapshot.ts'
import { Snapshots } from './snapshots.ts'
import { addedOutboxes, addedTables, changedIdentity, decideStart } from './start.ts'
import { Stream } from './stream.ts'
import type { CheckedTable, CheckedTopic, Preflight, Session, Technology } from './technology.ts'

export interface AttemptHost<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly controlTopic: LogTopic
  readonly eventsTopic: LogTopic
  readonly mirror: Mirror
  readonly resnapshot: boolean
  readonly signal: AbortSignal
  /** Makes an idle server show how far it is. */
  readonly nudge: () => Promise<void>
  onWaiting(reason: string | null): void
  /** A snapshot that stands still begins; it can be interrupted, and then goes on beside the stream. Null: it is over. */
  onSnapshot(progress: Progress | null, interrupt: () => void): void
  onSnapshotDone(): void
  onStream(stream: Stream<P>, snapshots: Snapshots<P>, captured: Captured): void
  onStreaming(): void
  /** A snapshot beside the stream has ended. */
  onSnapshotEnded(): void
  onComplete(complete: P, position: number): void
  onServer(position: P): void
  /** There is no room in the log to read on, or there is again. */
  onPaused(paused: boolean): void
}

/** What a stream brings, and how parked rows and events of it are read again. */
export interface Captured {
  readonly tables: readonly CheckedTable[]
  readonly topics: readonly CheckedTopic[]
  readonly readerOf: (table: CheckedTable) => RowReader
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
  const { signal, technology, mirror } = host
  const session = await technology.connect({ signal, onWaiting: reason => host.onWaiting(reason) })
  try {
    const { preflight, start } = await checkStart(host, session)
    signal.throwIfAborted()
    const control = new Control(technology.source, host.controlTopic, mirror)
    if (start === 'snapshot') {
      await untilRoom(host.log, host.onPaused.bind(host), signal)
      await takeSnapshot(host, session, preflight, control)
    } else {
      await session.waitUntilFree()
      const { state } = control
      const { identity } = preflight
      if (changedIdentity(state.identity, identity)) await record(host, control, { ...state, identity })
      await takeIn(host, session, preflight, control)
    }
    signal.throwIfAborted()
    await stream(host, session, preflight, control)
  } finally {
    session.close()
  }
}

async function stream<P>(
  host: AttemptHost<P>,
  session: Session<P>,
  { tables, topics = [] }: Preflight,
  control: Control,
): Promise<void> {
  const { technology, log, mirror, signal, nudge } = host
  const start = loggedPosition(log, technology)
  const running = new Stream({
    technology,
    log,
    mirror,
    eventsTopic: host.eventsTopic,
    start,
    openFeed: sink => session.openFeed(start, sink, beginsOf(control, technology)),
    onStreaming: () => host.onStreaming(),
    onComplete: (complete, position) => host.onComplete(complete, position),
    onServer: position => host.onServer(position),
    onPaused: paused => host.onPaused(paused),
  })
  const snapshots = new Snapshots({
    technology,
    session,
    stream: running,
    log,
    mirror,
    control,
    tables,
    nudge,
    onPaused: paused => host.onPaused(paused),
    onEnded: () => host.onSnapshotEnded(),
    signal,
  })
  host.onStream(running, snapshots, { readerOf: table => session.rowReader(table), tables, topics })
  const sweeper =
    session.outbox &&
    new OutboxSweeper({
      technology,
      tables: session.outbox,
      topics,
      positions: technology.positions,
      complete: () => running.complete,
      recorded: topic => running.eventsOf(topic),
    })
  sweeper?.start()
  try {
    await running.run()
  } finally {
    await snapshots.close()
    // Its statement under way ends with the connection.
    session.close()
    await sweeper?.stop()
  }
}

const beginsOf = <P>({ state }: Control, { positions }: Technology<P>): ReadonlyMap<string, P> =>
  new Map(Object.entries(state.begins).map(([topic, position]) => [topic, positions.parse(position)]))

/** What came into the contracts since the last snapshot is streamed from here on; tables are read beside it. */
async function takeIn<P>(
  host: AttemptHost<P>,
  session: Session<P>,
  { tables, topics = [] }: Preflight,
  control: Control,
): Promise<void> {
  const { state } = control
  const added = addedTables(state, tables)
  const outboxes = addedOutboxes(state, topics)
  if (added.length + outboxes.length === 0) return
  await session.publish(added, outboxes)
  if (outboxes.length > 0) await takeInOutboxes(host, session, outboxes, control)
  if (added.length === 0) return
  const epoch = state.epoch + 1
  const names = added.map(({ setup }) => setup.contract.name)
  const others = state.reading?.tables.filter(({ table }) => !names.includes(table)) ?? []
  await record(host, control, {
    ...control.state,
    phase: 'snapshot-started',
    epoch,
    tables: { ...control.state.tables, ...columnsOf(added) },
    reading: { paused: state.reading?.paused ?? false, tables: [...others, ...unread(names, 'added', epoch)] },
  })
}

/** What stands in them at one position comes first, in one batch with that position: behind it the stream brings their events. */
async function takeInOutboxes<P>(
  host: AttemptHost<P>,
  session: Session<P>,
  topics: readonly CheckedTopic[],
  control: Control,
): Promise<void> {
  const { log, mirror, signal, technology } = host
  const { source, positions } = technology
  await untilRoom(log, host.onPaused.bind(host), signal)
  const snapshot = await session.openExactSnapshot()
  try {
    const { state } = control
    const events = log.batch()
    const place = await readOutboxes(events, { mirror, snapshot, topics })
    const begin = positions.format(snapshot.position)
    const names = namesOf(topics)
    const begins = { ...state.begins, ...Object.fromEntries(Object.keys(names).map(name => [name, begin])) }
    const position = positions.format(loggedPosition(log, technology))
    const mark = { source, position, snapshot: true }
    const { first } = await record(
      host,
      control,
      { ...state, tables: { ...state.tables, ...names }, begins },
      mark,
      events,
    )
    place(position, first)
  } finally {
    await snapshot.close()
  }
}

async function takeSnapshot<P>(
  host: AttemptHost<P>,
  session: Session<P>,
  preflight: Preflight,
  control: Control,
): Promise<void> {
  const { technology, log, mirror, signal } = host
  const { source, positions, onEvent } = technology
  const before = control.state
  const { identity, tables, topics = [] } = preflight
  if (before.phase === 'slot-requested' || before.phase === 'snapshot-started') await session.clear('unfinished')
  else await session.clear(before.phase !== 'none' || host.resnapshot ? 'finished' : 'none')
  const epoch = before.epoch + 1
  await record(host, control, { ...before, phase: 'slot-requested', epoch, identity, reading: null })
  const snapshot = await session.openSnapshot()
  const interrupting = new AbortController()
  try {
    const position = positions.format(snapshot.position)
    const names = tables.map(({ setup }) => setup.contract.name)
    const reading = { paused: false, tables: unread(names, 'snapshot', epoch) }
    const known = { ...columnsOf(tables), ...namesOf(topics) }
    const state = { epoch, position, identity, tables: known, reading, begins: {} }
    const events = log.batch()
    const place = await readOutboxes(events, { mirror, snapshot, topics })
    const mark = { source, position, snapshot: true }
    const { first } = await record(host, control, { ...state, phase: 'snapshot-started' }, mark, events)
    place(position, first)
    const progress = new Progress(source, reading, tables, onEvent)
    host.onSnapshot(progress, () => interrupting.abort())
    onEvent({ event: 'snapshot-started', source, tables: tables.length, rowsEstimated: progress.now.rowsEstimated })
    const whole = await new SnapshotReader({
      technology,
      log,
      mirror,
      control,
      tables,
      snapshot,
      first: epoch === 1,
      progress,
      onPaused: paused => host.onPaused(paused),
      interrupted: interrupting.signal,
      signal,
    }).read()
    if (whole) {
      await record(host, control, { ...state, phase: 'snapshot-ended', reading: null }, { source, position })
      onEvent({ event: 'snapshot-ended', source, ...progress.total })
    } else if (control.state.reading) {
      await record(host, control, { ...control.state, reading: { ...control.state.reading, paused: true } })
      onEvent({ event: 'snapshot-paused', source, error: null })
    }
    await mirror.commit(log.end)
    host.onSnapshotDone()
    onEvent({ event: 'handover', source, position })
  } finally {
    host.onSnapshot(null, () => {})
    await snapshot.close()
  }
}

const columnsOf = (tables: readonly CheckedTable[]): Record<string, string[]> =>
  Object.fromEntries(
    tables.map(({ setup: { contract } }) => [contract.name, contract.type.fields.map(field => field.name)]),
  )

/** Topics have no columns that could be added. */
const namesOf = (topics: readonly CheckedTopic[]): Record<string, string[]> =>
  Object.fromEntries(topics.map(({ captured: { topic } }) => [topic.name, []]))

/** Appends a control record, behind what the batch has already, and waits until it is durable. */
async function record<P>(
  host: AttemptHost<P>,
  control: Control,
  state: ControlState,
  mark?: SourceMark,
  batch = host.log.batch(),
): Promise<Appended> {
  const onRecorded = control.record(batch, state)
  const appended = await batch.commit(mark)
  onRecorded()
  return appended
}
