// What a cleaned log means for views. A view that still has to fold positions at which its topic's history was removed would not
// be the function of the log that it is declared to be: it is stopped. Tables that rows are added to and removed from may be
// compacted: their rows are all there. And views hold the log back: nothing after their last checkpoint is cleaned away.
import { fail, type Log, type LogHold, type MainstemError, type SourceTable } from '../core/index.ts'
import type { FoldedView } from './view.ts'

/** Why a view cannot be folded from its position on; undefined where it can. */
export function historyGone(view: FoldedView, { base }: Log): MainstemError | undefined {
  for (const { input } of view.definition.ons) {
    const changes = input.kind === 'changes'
    if (!changes && input.kind !== 'topic') continue
    const topic = changes ? (input as unknown as { table: SourceTable }).table.name : input.name
    const { trimmedTo = 0, compactedTo = 0 } = base.topics.get(topic) ?? {}
    const horizon = changes ? compactedTo : trimmedTo
    if (horizon <= view.position) continue
    return fail('VIEW_HISTORY_GONE', `view '${view.name}' needs history of ${topic} that was removed`, {
      detail: `it stands at position ${view.position}; ${changes ? 'changes' : 'events'} up to position ${horizon} are gone`,
      data: { view: view.name, topic, horizon },
    })
  }
  return undefined
}

/** A hold of the log for each view, at its last checkpoint. */
export class ViewHolds {
  readonly #holds = new Map<FoldedView, LogHold>()

  constructor(log: Log, views: readonly FoldedView[]) {
    for (const view of views) if (!view.error) this.#holds.set(view, log.hold(`view ${view.name}`, view.position))
  }

  /** @param positionOf where a view's checkpoint stands, if it has one. A stopped view holds nothing. */
  update(positionOf: (view: FoldedView) => number | undefined): void {
    for (const [view, hold] of this.#holds) {
      if (view.error) this.#release(view, hold)
      else hold.move(positionOf(view) ?? 0)
    }
  }

  release(): void {
    for (const [view, hold] of this.#holds) this.#release(view, hold)
  }

  #release(view: FoldedView, hold: LogHold): void {
    hold.release()
    this.#holds.delete(view)
  }
}
