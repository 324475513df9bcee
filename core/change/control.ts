// What a source has to remember about itself stands in the log, in the topic `mainstem.sources`: which slot it asked for,
// which snapshot began and ended. So a restart knows where it was from the same durable place as the changes themselves.
import { z } from 'zod'
import { type AnyRow, type Contract, compileContract } from '../contract/index.ts'
import { CONTROL_TOPIC } from '../log/index.ts'

/**
 * slot-requested: about to create what the server keeps for the source · snapshot-started: it exists, reading begins at
 * `position` · snapshot-ended: all tables are read, streaming goes on from `position`.
 */
export type ControlEvent = 'slot-requested' | 'snapshot-started' | 'snapshot-ended'

const schema = z.object({
  source: z.string(),
  event: z.enum(['slot-requested', 'snapshot-started', 'snapshot-ended']),
  /** Counts the snapshots of this source, from 1. */
  epoch: z.int(),
  position: z.string(),
  /** Which server and slot: a change of it means lost changes. */
  identity: z.record(z.string(), z.string()),
  /** Captured table → its contract's columns. */
  tables: z.record(z.string(), z.array(z.string())),
})

export type ControlRecord = z.output<typeof schema>

export const controlContract = (): Contract => compileContract(CONTROL_TOPIC, 'topic', schema, 'source')

export interface ControlState {
  readonly phase: 'none' | ControlEvent
  readonly epoch: number
  readonly position: string
  readonly identity: Readonly<Record<string, string>>
  readonly tables: Readonly<Record<string, readonly string[]>>
}

export const NO_CONTROL: ControlState = { phase: 'none', epoch: 0, position: '', identity: {}, tables: {} }

/** The state after a control record of this source; undefined where the record is of another one. */
export function readControl(source: string, value: AnyRow): ControlState | undefined {
  const record = schema.parse(value)
  if (record.source !== source) return undefined
  const { event: phase, epoch, position, identity, tables } = record
  return { phase, epoch, position, identity, tables }
}
