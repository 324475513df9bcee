// Views that fold views: who passes its changes on to whom, and in which order that can be done.
import type { FoldedView } from './view.ts'

/** Ties the routes of views that fold views to those. */
export function connectViews(views: readonly FoldedView[]): void {
  const byName = new Map(views.map(view => [view.name, view]))
  for (const view of views)
    for (const route of view.routes)
      if (route.on.input.kind === 'projection') byName.get(route.input)?.consumers.push(route)
}

/** By rank: first the views that fold no view, then those that fold only views of ranks before. */
export function ranksOf(views: readonly FoldedView[]): readonly (readonly FoldedView[])[] {
  const rank = new Map<string, number>()
  for (const { name, routes } of views) {
    const below = routes.flatMap(({ on, input }) => (on.input.kind === 'projection' ? [rank.get(input) ?? 0] : []))
    rank.set(name, Math.max(-1, ...below) + 1)
  }
  const ranks = Array.from({ length: Math.max(0, ...rank.values()) + 1 }, (): FoldedView[] => [])
  for (const view of views) ranks[rank.get(view.name)!]!.push(view)
  return ranks
}
