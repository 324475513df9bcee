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
  type ParkedRetried,
  type ParkedRetry,
  Recorder,
  refusedBy,
} from '../../core/index.ts'
import type { Pipeline } from './pipeline.ts'
import type { RowReader } from './rows.ts'
import type { Technology } from './technology.ts'

/** Rows of one batch, and of one turn of the event loop. */
const SLICE_ROWS = 500
const REFUSALS_TOLD_MAX = 100

export interface RedriveParts<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly mirror: Mirror
  readonly pipeline: Pipeline<P>
  readonly readers: ReadonlyMap<string, () => RowReader>
}

/** @throws PARKED_UNKNOWN, REQUEST_INVALID, LOG_FULL */
export async function redriveParked<P>(parts: RedriveParts<P>, request: ParkedRetry): Promise<ParkedRetried> {
  const { log, mirror, pipeline } = parts
  checkRequest(parts, request)
  await durable(parts)
  if (log.pressure !== null) throw fail('LOG_FULL', 'the log has no room', { detail: log.pressure })
  const found = {
    accepted: 0,
    superseded: 0,
    refused: 0,
    refusals: [] as { topic: string; key: string; error: string }[],
  }
  const recorder = new Recorder(mirror, log.batch())
  for (const table of mirror.tables.values()) {
    if (request.topic !== undefined && request.topic !== table.name) continue
    const reader = parts.readers.get(table.name)?.()
    if (!reader) continue
    const entries = entriesOf(table, request.key)
    for (let at = 0; at < entries.length; at += SLICE_ROWS) {
      const batch = log.batch()
      recorder.use(batch)
      for (const entry of entries.slice(at, at + SLICE_ROWS)) {
        const outcome = redriveOne(recorder, table, reader, entry, request.set)
        if (typeof outcome !== 'string') found[outcome ? 'accepted' : 'superseded']++
        else if (++found.refused <= REFUSALS_TOLD_MAX)
          found.refusals.push({ topic: table.name, key: entry.key, error: outcome })
      }
      if (batch.count > 0) await append(parts, batch)
      await nextTurn()
    }
  }
  return { ...found, position: pipeline.position }
}

async function append<P>(parts: RedriveParts<P>, batch: ReturnType<Log['batch']>): Promise<void> {
  const { technology, pipeline } = parts
  const { source, positions } = technology
  const { complete } = pipeline
  pipeline.append(batch, { source, position: positions.format(complete) }, complete)
  await durable(parts)
}

/** What the log refused ends the attempt, and with it this. */
async function durable<P>({ pipeline, technology }: RedriveParts<P>): Promise<void> {
  await pipeline.settled()
  if (pipeline.count > 0)
    throw fail('NOT_READY', `source ${technology.source} has stopped streaming`, { hint: 'try again' })
}

function checkRequest<P>({ mirror, technology }: RedriveParts<P>, { topic, key, set }: ParkedRetry): void {
  const table = topic === undefined ? undefined : mirror.tables.get(topic)
  if (topic !== undefined && !table)
    throw fail('PARKED_UNKNOWN', `source ${technology.source} captures no table '${topic.slice(0, 100)}'`, {
      detail: `it captures ${[...mirror.tables.keys()].join(', ')}`,
    })
  const tables = table ? [table] : [...mirror.tables.values()]
  const holders = key === undefined ? [] : tables.filter(each => each.findParked(key))
  if (key !== undefined && holders.length === 0)
    throw fail('PARKED_UNKNOWN', `no row with key '${key.slice(0, 100)}' is parked`)
  if (set === undefined) return
  if (holders.length !== 1)
    throw fail('REQUEST_INVALID', 'values are set of one row', { hint: 'say which: its table and its key' })
  const columns = holders[0]!.contract.type.fields.map(field => field.name)
  const unknown = Object.keys(set).find(name => !columns.includes(name))
  if (unknown !== undefined)
    throw fail('REQUEST_INVALID', `${holders[0]!.name} has no column '${unknown.slice(0, 100)}'`, {
      detail: `its contract has ${columns.join(', ')}`,
    })
}

function entriesOf(table: MirrorTable, key: string | undefined): readonly ParkedEntry[] {
  if (table.parkedCount === 0) return []
  if (key === undefined) return [...table.parked()].sort((a, b) => a.logPosition - b.logPosition)
  const entry = table.findParked(key)
  return entry ? [entry] : []
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
