// What reads of the past ask of an engine, besides where it is: from where a view's rows can be folded, and whether they may be.
import { nodeFileSystem } from '../../core/index.ts'
import type { EngineOptions } from '../engine-options.ts'
import { checkUsable } from '../savepoint/savepoints.ts'
import type { FoldedView } from '../view.ts'
import type { Coordinator } from './coordinator.ts'

export function placesInPast(engine: Coordinator, options: EngineOptions, views: readonly FoldedView[]) {
  const { log, fingerprint, path, fs = nodeFileSystem, acceptHistoryGone = [] } = options
  const { generation } = log.base
  const named = (name: string) => views.find(view => view.name === name)!
  return {
    fingerprint,
    fs,
    path: `${path}-past`,
    checkReadable: (view: string) => engine.views.get(view)!.check(),
    isComplete: (source: string) => engine.isComplete(source),
    savepointPosition: async (name: string) => {
      const savepoint = await engine.savepoints.get(name)
      checkUsable(savepoint, log)
      return savepoint.position
    },
    continuedTo: (view: string) => engine.continued(named(view)).at(-1)?.position ?? 0,
    foldsWhatIsLeft: (view: string) =>
      acceptHistoryGone.includes(view) && engine.plans.get(view)?.from === 0 && generation === log.base.generation,
  }
}
