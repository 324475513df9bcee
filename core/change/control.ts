// What a source has to remember about itself stands in the log, in the topic `mainstem.sources`: which slot it asked for,
// which snapshot began and ended. So a restart knows where it was from the same durable place as the changes themselves.
import { z } from 'zod'
import { type AnyRow, type Contract, compileContract } from '../contract/index.ts'
import { CONTROL_TOPIC } from '../log/index.ts'

/**
 * slot-requested: about to create what the server keeps for the source · snapshot-started: it exists, streaming begins at
 * `position`, and tables are still to be read (`reading`) · snapshot-ended: the log has all that the tables hold, although some
 * may be read once more.
 */
export type ControlEvent = 'slot-requested' | 'snapshot-started' | 'snapshot-ended'

/** A table that is read, and how far. */
const tableReading = z.object({
  /** The contract's name. */
  table: z.string(),
  /** snapshot: the log had to be filled · added: the table, or columns of it, came into the contracts later · asked: by a command. */
  why: z.enum(['snapshot', 'added', 'asked']),
  /** SQL: only these rows are read, and none is found to be gone; null: all of them. */
  where: z.string().nullable(),
  /** Rows of the mirror that an older one saw last, and not this, may be gone. */
  epoch: z.int(),
  /** Where the next chunk begins, as the source's technology wrote it; null where none was read yet. */
  until: z.string().nullable(),
  rows: z.int(),
  done: z.boolean(),
})

const reading = z.object({ paused: z.boolean(), tables: z.array(tableReading) })

/** A snapshot under way: which tables, and how far. It goes on after a restart from what the log says of it. */
export type Reading = z.output<typeof reading>
export type TableReading = z.output<typeof tableReading>

const schema = z.object({
  source: z.string(),
  /** Not only what happened, but what holds after it: the last record of a source says all of it. */
  event: z.enum(['slot-requested', 'snapshot-started', 'snapshot-ended']),
  /** Counts the snapshots of this source, from 1. */
  epoch: z.int(),
  position: z.string(),
  /** Which server and slot: a change of it means lost changes. */
  identity: z.record(z.string(), z.string()),
  /** Captured table → its contract's columns. */
  tables: z.record(z.string(), z.array(z.string())),
  reading: reading.nullable().default(null),
  /** Outbox that came later → the position behind which the stream brings its events: what stood in it then is in the log. */
  begins: z.record(z.string(), z.string()).default({}),
})

export type ControlRecord = z.output<typeof schema>

export const controlContract = (): Contract => compileContract(CONTROL_TOPIC, 'topic', schema, 'source')

export interface ControlState {
  readonly phase: 'none' | ControlEvent
  readonly epoch: number
  readonly position: string
  readonly identity: Readonly<Record<string, string>>
  readonly tables: Readonly<Record<string, readonly string[]>>
  readonly reading: Reading | null
  readonly begins: Readonly<Record<string, string>>
}

export const NO_CONTROL: ControlState = {
  phase: 'none',
  epoch: 0,
  position: '',
  identity: {},
  tables: {},
  reading: null,
  begins: {},
}

/** The state after a control record of this source; undefined where the record is of another one. */
export function readControl(source: string, value: AnyRow): ControlState | undefined {
  const record = schema.parse(value)
  if (record.source !== source) return undefined
  const { event: phase, epoch, position, identity, tables, reading, begins } = record
  return { phase, epoch, position, identity, tables, reading, begins }
}

/** The record that says a state. */
export function controlRecord(source: string, state: ControlState): AnyRow {
  const { phase: event, epoch, position, identity, tables, reading, begins } = state
  return { source, event, epoch, position, identity, tables, reading, begins }
}
