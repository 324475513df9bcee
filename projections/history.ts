// What a cleaned log means for views. A view that still has to fold positions at which its topic's history was removed would not
// be the function of the log that it is declared to be: it is stopped. Tables that rows are added to and removed from may be
// compacted: their rows are all there. And views hold the log back: nothing after their last checkpoint is cleaned away.
import { fail, type Log, type LogHold, type MainstemError, type SourceTable } from '../core/index.ts'
import type { FoldedView } from './view.ts'

/** Why a view cannot be folded from its position on; undefined where it can. */
export function historyGone(view: FoldedView, { base }: Pick<Log, 'base'>): MainstemError | undefined {
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

/**
 * Why a view folded anew is not the same to the last bit, though equal in what it means: rows of a compacted table come in another
 * order, which shows in sums of floats and in maps. Undefined where it is the same.
 * @param views what it folds is among them; what they have so far, up to their position, came in the order it was in
 */
export function reorderedHistory(
  view: FoldedView,
  views: readonly FoldedView[],
  { base }: Log,
): MainstemError | undefined {
  if (!/"kind":"(float|map)"/.test(JSON.stringify(view.storedFields))) return undefined
  const table = compactedInput(view, views, base)
  if (table === undefined) return undefined
  return fail('VIEW_HISTORY_GONE', `view '${view.name}' cannot be compared with what folding the log anew gives`, {
    detail: `rows of ${table} were compacted and come in another order, which sums of floats and maps show`,
    hint: 'nothing is wrong with the view: only equality to the last bit cannot be had',
    data: { view: view.name, topic: table },
  })
}

function compactedInput(
  { definition, position }: FoldedView,
  views: readonly FoldedView[],
  base: Log['base'],
): string | undefined {
  for (const { input } of definition.ons) {
    const from = input.kind === 'projection' ? views.find(view => view.name === input.name) : undefined
    const found = from ? compactedInput(from, views, base) : undefined
    if (found !== undefined) return found
    if (input.kind === 'table' && (base.topics.get(input.name)?.compactedTo ?? 0) > position) return input.name
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
