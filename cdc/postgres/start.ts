// How a connector may start: resume from the log's mark, begin with a snapshot, or not at all because changes were lost.
// PostgreSQL moves START_REPLICATION forward without an error when asked for an LSN behind `confirmed_flush_lsn`, so
// what was lost has to be found here.
import { type ControlState, fail, type MainstemError } from '../../core/index.ts'
import { formatLsn } from './lsn.ts'
import type { Setup } from './setup.ts'
import type { Slot } from './slot.ts'

export interface StartFacts {
  readonly setup: Setup
  readonly control: ControlState
  readonly identity: Readonly<Record<string, string>>
  readonly slot: Slot | undefined
  /** Topics of tables that the publication does not hold. */
  readonly unpublished: readonly string[]
  /** The log's LSN of this source. */
  readonly logged: bigint
  readonly resnapshot: boolean
}

/**
 * With `resnapshot` everything is read again, whether or not something is wrong: also the repair of what no one here can see.
 * @throws SOURCE_SYSTEM_CHANGED, SOURCE_SLOT_LOST, SOURCE_TABLE_ADDED, LOG_BEHIND_SLOT without it
 */
export function decideStart(facts: StartFacts): 'snapshot' | 'resume' {
  const problem = findProblem(facts)
  if (problem && !facts.resnapshot) throw problem
  return facts.resnapshot || facts.control.phase !== 'snapshot-ended' ? 'snapshot' : 'resume'
}

const repair = (setup: Setup): string =>
  `read it again, only differences become records: mainstem run app.ts --resnapshot ${setup.source}`

function findProblem(facts: StartFacts): MainstemError | undefined {
  const { setup, control, slot, logged } = facts
  const { source } = setup
  const hint = repair(setup)
  if (control.phase === 'none') {
    if (!slot) return undefined
    return fail('LOG_BEHIND_SLOT', `the log knows nothing of slot ${setup.slot}, which exists`, {
      detail: `the server has confirmed ${formatLsn(slot.confirmed)} to a log that is not this one`,
      hint: `if no other application uses it, ${hint}`,
    })
  }
  const changed = Object.entries(control.identity).find(([name, value]) => facts.identity[name] !== value)
  if (changed) {
    const [name, value] = changed
    return fail('SOURCE_SYSTEM_CHANGED', `source ${source} is another server, or was restored or failed over`, {
      detail: `its ${name} was ${value} and is ${facts.identity[name] ?? 'unknown'}: changes may have been lost`,
      hint: `check the url, or ${hint}`,
    })
  }
  if (control.phase !== 'snapshot-ended') return undefined
  if (!slot || slot.lost !== null || slot.plugin !== 'pgoutput') {
    return fail(
      'SOURCE_SLOT_LOST',
      `slot ${setup.slot} of ${source} ${slot ? 'is no longer usable' : 'has vanished'}`,
      {
        detail: `${slot?.lost ?? 'it was dropped'}: changes after ${formatLsn(logged)} are lost`,
        hint,
      },
    )
  }
  const added = addedTables(facts)
  if (added) return added
  const [gone] = facts.unpublished
  if (gone !== undefined) {
    return fail('SOURCE_SLOT_LOST', `publication ${setup.publication} of ${source} has vanished or was changed`, {
      detail: `${gone} is not in it: changes after ${formatLsn(logged)} may be lost`,
      hint,
    })
  }
  if (slot.confirmed > logged) {
    return fail('LOG_BEHIND_SLOT', `the log is behind slot ${setup.slot} of ${source}`, {
      detail: `the server has confirmed ${formatLsn(slot.confirmed)}, the log ends at ${formatLsn(logged)}: what is between is lost`,
      hint: `put the newer data folder back, or ${hint}`,
    })
  }
  return undefined
}

function addedTables({ setup, control }: StartFacts): MainstemError | undefined {
  for (const { contract, table } of setup.tables) {
    const known = control.tables[contract.name]
    const missing = known ? contract.type.fields.filter(field => !known.includes(field.name)) : []
    if (known && missing.length === 0) continue
    const what = known ? `columns ${missing.map(field => field.name).join(', ')} of ${table.name}` : table.name
    return fail('SOURCE_TABLE_ADDED', `${what} was added to the contract after the snapshot of ${setup.source}`, {
      detail: 'the log holds none of what stood in it before',
      hint: repair(setup),
    })
  }
  return undefined
}
