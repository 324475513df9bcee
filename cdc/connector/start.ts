// How a connector may start: resume from the log's mark, begin with a snapshot, or not at all because changes were lost.
import { type ControlState, fail, type MainstemError } from '../../core/index.ts'
import type { CheckedTable, Preflight } from './technology.ts'

export interface StartFacts {
  readonly source: string
  readonly control: ControlState
  readonly preflight: Preflight
  readonly resnapshot: boolean
}

/**
 * With `resnapshot` everything is read again, whether or not something is wrong: also the repair of what no one here can see.
 * @throws SOURCE_SYSTEM_CHANGED, SOURCE_TABLE_ADDED, what `preflight.lost` holds, without it
 */
export function decideStart(facts: StartFacts): 'snapshot' | 'resume' {
  const problem = findProblem(facts)
  if (problem && !facts.resnapshot) throw problem
  return facts.resnapshot || facts.control.phase !== 'snapshot-ended' ? 'snapshot' : 'resume'
}

/** What to do about lost changes, for the hint of an error. */
export const repair = (source: string): string =>
  `read it again, only differences become records: mainstem run app.ts --resnapshot ${source}`

function findProblem({ source, control, preflight }: StartFacts): MainstemError | undefined {
  const { identity, lost, tables } = preflight
  if (control.phase === 'none') return lost
  const changed = Object.entries(control.identity).find(([name, value]) => identity[name] !== value)
  if (changed) {
    const [name, value] = changed
    return fail('SOURCE_SYSTEM_CHANGED', `source ${source} is another server, or was restored or failed over`, {
      detail: `its ${name} was ${value} and is ${identity[name] ?? 'unknown'}: changes may have been lost`,
      hint: `check the url, or ${repair(source)}`,
    })
  }
  if (control.phase !== 'snapshot-ended') return undefined
  return lost ?? addedTables(source, control, tables)
}

function addedTables(
  source: string,
  control: ControlState,
  tables: readonly CheckedTable[],
): MainstemError | undefined {
  for (const { setup } of tables) {
    const { contract, table } = setup
    const known = control.tables[contract.name]
    const missing = known ? contract.type.fields.filter(field => !known.includes(field.name)) : []
    if (known && missing.length === 0) continue
    const what = known ? `columns ${missing.map(field => field.name).join(', ')} of ${table.name}` : table.name
    return fail('SOURCE_TABLE_ADDED', `${what} was added to the contract after the snapshot of ${source}`, {
      detail: 'the log holds none of what stood in it before',
      hint: repair(source),
    })
  }
  return undefined
}
