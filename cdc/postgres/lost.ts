// Whether the slot still holds what the log lacks. PostgreSQL moves START_REPLICATION forward without an error when asked for
// an LSN behind `confirmed_flush_lsn`, so what was lost has to be found here.
import { fail, type MainstemError } from '../../core/index.ts'
import { repair } from '../connector/start.ts'
import type { Known } from '../connector/technology.ts'
import { formatLsn } from './lsn.ts'
import type { Setup } from './setup.ts'
import type { Slot } from './slot.ts'

/** @param unpublished topics of tables that the publication does not hold */
export function findLost(
  setup: Setup,
  { control, logged }: Known<bigint>,
  slot: Slot | undefined,
  unpublished: readonly string[],
): MainstemError | undefined {
  const { source } = setup
  const hint = repair(source)
  if (control.phase === 'none') {
    if (!slot) return undefined
    return fail('LOG_BEHIND_SLOT', `the log knows nothing of slot ${setup.slot}, which exists`, {
      detail: `the server has confirmed ${formatLsn(slot.confirmed)} to a log that is not this one`,
      hint: `if no other application uses it, ${hint}`,
    })
  }
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
  const gone = unpublished.find(name => name in control.tables)
  if (gone !== undefined) {
    return fail('SOURCE_SLOT_LOST', `publication ${setup.publication} of ${source} has vanished or was changed`, {
      detail: `it does not hold all of ${gone}: changes after ${formatLsn(logged)} may be lost`,
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
