// Whether a view's past can be folded again from the log: not where history of its inputs was removed, nor where other code made it.
import type { Log, SourceTable } from '../../core/index.ts'
import type { ProjectionDefinition } from '../projection.ts'
import { atGone } from './errors.ts'

export interface Horizon {
  readonly log: Log
  /** Position of what the fold begins with. */
  readonly from: number
  readonly cut: number
  /** Position up to which the view was made by former code. */
  continuedTo(view: string): number
  /** Whether the live view too is a fold of what is left. */
  foldsWhatIsLeft(view: string): boolean
}

/** @param definitions of all views that are folded @throws AT_GONE */
export function checkHorizon(definitions: readonly ProjectionDefinition[], horizon: Horizon): void {
  for (const definition of definitions) {
    const { name } = definition
    const continued = horizon.continuedTo(name)
    if (continued > horizon.from)
      throw atGone(name, `up to position ${continued} it was made by other code, which cannot be run again`, null)
    if (!horizon.foldsWhatIsLeft(name)) checkInputs(definition, horizon)
  }
}

function checkInputs({ name, ons }: ProjectionDefinition, { log, from, cut }: Horizon): void {
  for (const { input } of ons) {
    if (input.kind === 'projection') continue
    const changes = input.kind === 'changes'
    const topic = changes ? (input as unknown as { table: SourceTable }).table.name : input.name
    const { trimmedTo = 0, compactedTo = 0 } = log.base.topics.get(topic) ?? {}
    // Events that are gone are missing at every later position too; rows of a compacted table are all there behind its horizon.
    const gone = changes ? Math.max(trimmedTo, compactedTo) : trimmedTo
    if (gone > from) throw atGone(name, `history of ${topic} up to position ${gone} was removed`, null)
    if (cut < compactedTo)
      throw atGone(name, `changes of ${topic} up to position ${compactedTo} were compacted`, compactedTo)
  }
}
