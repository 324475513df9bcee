// How a connector may start: resume from the log's mark, begin with a snapshot, or not at all because changes were lost.
import { type ControlState, fail, type MainstemError } from '../../core/index.ts'
import type { CheckedTable, CheckedTopic, Preflight } from './technology.ts'

export interface StartFacts {
  readonly source: string
  readonly control: ControlState
  readonly preflight: Preflight
  readonly resnapshot: boolean
}

/**
 * With `resnapshot` everything is read again, whether or not something is wrong: also the repair of what no one here can see.
 * @throws SOURCE_SYSTEM_CHANGED, what `preflight.lost` holds, without it
 */
export function decideStart(facts: StartFacts): 'snapshot' | 'resume' {
  const { control, preflight, resnapshot } = facts
  if (resnapshot) return 'snapshot'
  const problem = findProblem(facts)
  if (problem) throw problem
  if (control.phase === 'snapshot-ended') return 'resume'
  // What is left of a snapshot that was interrupted is read beside streaming, if all changes since then can be had.
  return control.phase === 'snapshot-started' && control.reading && !preflight.lost ? 'resume' : 'snapshot'
}

/** What to do about lost changes, for the hint of an error. */
export const repair = (source: string): string =>
  `read it again, only differences become records: mainstem run app.ts --resnapshot ${source}, or where it still runs: mainstem snapshot ${source}`

function findProblem({ source, control, preflight }: StartFacts): MainstemError | undefined {
  const { identity, successor, lost } = preflight
  if (control.phase === 'none') return lost
  const changed = changedIdentity(control.identity, identity)
  if (changed && successor !== 'continues') {
    if (successor) return successor
    const [name, value] = changed
    return fail('SOURCE_SYSTEM_CHANGED', `source ${source} is another server, or was restored or failed over`, {
      detail: `its ${name} was ${value} and is ${identity[name] ?? 'unknown'}: changes may have been lost`,
      hint: `check the url, or ${repair(source)}`,
    })
  }
  if (control.phase !== 'snapshot-ended') return undefined
  return lost
}

/** What of the server is not as the log knows it: its name, and what it was. */
export const changedIdentity = (
  known: Readonly<Record<string, string>>,
  identity: Readonly<Record<string, string>>,
): [string, string] | undefined => Object.entries(known).find(([name, value]) => identity[name] !== value)

/** Tables, or columns of them, that came into the contracts after the last snapshot: the log holds none of what stood there before. */
export const addedTables = (control: ControlState, tables: readonly CheckedTable[]): readonly CheckedTable[] =>
  tables.filter(({ setup: { contract } }) => {
    const known = control.tables[contract.name]
    return !known || contract.type.fields.some(field => !known.includes(field.name))
  })

/** Outboxes that were declared after the last snapshot, likewise. Messages need nothing of the server. */
export const addedOutboxes = (control: ControlState, topics: readonly CheckedTopic[]): readonly CheckedTopic[] =>
  topics.filter(
    ({ captured: { topic, declared } }) => declared.origin.kind === 'outbox' && !(topic.name in control.tables),
  )
