// Parked rows, read again: out of their raw values, under the contracts as they are now, or with values that somebody corrected.
// It runs between two transactions, when all before is durable, so that what it appends comes after all that it looks at. A row
// that is parked is newer than the accepted row of its key (accepting one ends the parking), so the order per key is kept.
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type AnyRow,
  fail,
  isMainstemError,
  type Log,
  type Mirror,
  type MirrorTable,
  type ParkedEntry,
  type ParkedEvents,
  type ParkedRetried,
  type ParkedRetry,
  type ParkedRows,
  Recorder,
  refusedBy,
} from '../../core/index.ts'
import type { Captured } from './attempt.ts'
import { appendBetween, type BetweenParts, durable } from './between.ts'
import type { EventReader } from './events.ts'
import type { RowReader } from './rows.ts'

/** Rows of one batch, and of one turn of the event loop; and bytes of it, since raw values may be large. */
const SLICE_ROWS = 500
const SLICE_BYTES = 4 * 1024 * 1024
const REFUSALS_TOLD_MAX = 100

export interface RedriveParts<P> extends BetweenParts<P> {
  readonly log: Log
  readonly mirror: Mirror
  readonly captured: Captured
  /** Ends the stream: the mirror has what the log has not. */
  giveUp(error: unknown): void
}

/** @throws PARKED_UNKNOWN, REQUEST_INVALID, LOG_FULL */
export async function redriveParked<P>(parts: RedriveParts<P>, request: ParkedRetry): Promise<ParkedRetried> {
  const { log, mirror, pipeline } = parts
  checkRequest(parts, request)
  await durable(parts)
  if (log.pressure !== null) throw fail('LOG_FULL', 'the log has no room', { detail: log.pressure })
  const found: Found = { accepted: 0, superseded: 0, refused: 0, refusals: [] }
  const { tables, topics, readerOf } = parts.captured
  try {
    for (const checked of tables) {
      const table = mirror.tables.get(checked.setup.contract.name)
      if (table && isMeant(table, request)) await redriveRows(parts, table, readerOf(checked), request, found)
    }
    for (const { captured, reader } of topics) {
      const events = mirror.events.get(captured.topic.name)
      if (events && isMeant(events, request)) await redriveEvents(parts, events, reader, request, found)
    }
  } catch (error) {
    parts.giveUp(error)
    throw error
  }
  return { ...found, position: pipeline.position }
}

type Found = { -readonly [K in 'accepted' | 'superseded' | 'refused']: number } & {
  readonly refusals: { topic: string; key: string; error: string }[]
}

const isMeant = ({ name, parkedCount }: ParkedRows, { topic }: ParkedRetry): boolean =>
  parkedCount > 0 && (topic === undefined || topic === name)

function refuse(found: Found, topic: string, key: string, error: string): void {
  if (++found.refused <= REFUSALS_TOLD_MAX) found.refusals.push({ topic, key, error })
}

async function redriveRows<P>(
  parts: RedriveParts<P>,
  table: MirrorTable,
  reader: RowReader,
  request: ParkedRetry,
  found: Found,
): Promise<void> {
  const { log, mirror } = parts
  const recorder = new Recorder(mirror, log.batch())
  const keys = keysOf(table, request.key)
  for (let at = 0; at < keys.length; ) {
    const batch = log.batch()
    recorder.use(batch)
    for (const end = at + SLICE_ROWS; at < keys.length && at < end && batch.memoryBytes < SLICE_BYTES; at++) {
      const entry = table.findParked(keys[at]!)
      if (!entry) continue
      const outcome = redriveOne(recorder, table, reader, entry, request.set)
      if (typeof outcome === 'string') refuse(found, table.name, entry.key, outcome)
      else found[outcome ? 'accepted' : 'superseded']++
    }
    if (batch.count > 0) await appendBetween(parts, batch)
    await nextTurn()
  }
}

/** Events of a key in their order: what comes after one that is refused again stays behind it. */
async function redriveEvents<P>(
  parts: RedriveParts<P>,
  events: ParkedEvents,
  reader: EventReader,
  { key, set }: ParkedRetry,
  found: Found,
): Promise<void> {
  const positions = events.inOrder(key)
  const stuck = new Set<string>()
  for (let at = 0; at < positions.length; ) {
    const batch = parts.log.batch()
    for (const end = at + SLICE_ROWS; at < positions.length && at < end && batch.memoryBytes < SLICE_BYTES; at++) {
      const entry = events.parkedAt(positions[at]!)
      if (!entry) continue
      const raw = at === 0 ? { ...entry.raw, ...set } : entry.raw
      const { value, error } = stuck.has(entry.key) ? BEHIND : reader.fromRaw(raw)
      const wrong = error ?? events.append(batch, value)
      if (wrong === undefined) {
        const redriveOf = entry.logPosition
        batch.parked(events.topic, { op: 'delete', key: entry.key, raw: {}, error: 'redriven', redriveOf })
        events.mended(redriveOf, entry.key)
        found.accepted++
      } else {
        if (entry.key !== '') stuck.add(entry.key)
        refuse(found, events.name, entry.key, wrong)
      }
    }
    if (batch.count > 0) await appendBetween(parts, batch)
    await nextTurn()
  }
}

const BEHIND = { value: undefined, error: 'an earlier event of its key is parked' }

function checkRequest<P>({ mirror, technology }: RedriveParts<P>, { topic, key, set }: ParkedRetry): void {
  const all: readonly (MirrorTable | ParkedEvents)[] = [...mirror.tables.values(), ...mirror.events.values()]
  const meant = all.filter(({ name }) => topic === undefined || name === topic)
  if (meant.length === 0)
    throw fail('PARKED_UNKNOWN', `source ${technology.source} captures no table '${String(topic).slice(0, 100)}'`, {
      detail: `it captures ${all.map(({ name }) => name).join(', ')}`,
    })
  const holders = key === undefined ? [] : meant.filter(rows => isParked(rows, key))
  if (key !== undefined && holders.length === 0)
    throw fail('PARKED_UNKNOWN', `no row with key '${key.slice(0, 100)}' is parked`)
  if (set === undefined) return
  const [holder] = holders
  if (holders.length !== 1 || !holder || key === undefined)
    throw fail('REQUEST_INVALID', 'values are set of one row', { hint: 'say which: its table and its key' })
  const columns =
    'inOrder' in holder
      ? Object.keys(holder.parkedAt(holder.inOrder(key)[0] ?? 0)?.raw ?? {})
      : holder.contract.type.fields.map(field => field.name)
  const unknown = Object.keys(set).find(name => !columns.includes(name))
  if (unknown !== undefined)
    throw fail('REQUEST_INVALID', `${holder.name} has no column '${unknown.slice(0, 100)}'`, {
      detail: `it is read from ${columns.join(', ')}`,
    })
}

const isParked = (rows: MirrorTable | ParkedEvents, key: string): boolean =>
  'inOrder' in rows ? rows.parkedCount > 0 && rows.inOrder(key).length > 0 : rows.findParked(key) !== undefined

/** Of the parked rows that are meant, in the order of the log. */
function keysOf(table: MirrorTable, key: string | undefined): readonly string[] {
  if (table.parkedCount === 0) return []
  if (key !== undefined) return table.findParked(key) ? [key] : []
  const found: (readonly [key: string, logPosition: number])[] = []
  for (const entry of table.parked()) found.push([entry.key, entry.logPosition])
  return found.sort(([, a], [, b]) => a - b).map(([each]) => each)
}

/** True: accepted; false: a newer row is there; or why it stays parked. */
function redriveOne(
  recorder: Recorder,
  table: MirrorTable,
  reader: RowReader,
  entry: ParkedEntry,
  set: ParkedRetry['set'],
): boolean | string {
  try {
    const row = reader.fromRaw({ ...entry.raw, ...set }, currentRow(table, entry.key))
    return typeof row === 'string' ? row : recorder.redrive(table, entry, row)
  } catch (error) {
    if (isMainstemError(error) && /^(RECORD|KEY)_/.test(error.code)) return refusedBy(error)
    throw error
  }
}

/** The accepted row of a parked one's key; undefined where there is none, or the key itself is what is refused. */
function currentRow(table: MirrorTable, keyText: string): AnyRow | undefined {
  const { key } = table.contract
  try {
    const stored = table.find(key.encode(key.parse(keyText)))
    return stored && table.row(stored)
  } catch (error) {
    if (isMainstemError(error)) return undefined
    throw error
  }
}
