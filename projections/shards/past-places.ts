// What reads of the past ask of an engine, besides where it is: from where a view's rows can be folded, and whether they may be.
import { nodeFileSystem } from '../../core/index.ts'
import { Bases } from '../base/bases.ts'
import type { Checkpoint } from '../checkpoint/manifest.ts'
import type { EngineOptions } from '../engine-options.ts'
import { checkUsable } from '../savepoint/savepoints.ts'
import type { FoldedView } from '../view.ts'
import type { Coordinator } from './coordinator.ts'

/** @param kept checkpoints that can be restored */
export function placesInPast(
  engine: Coordinator,
  options: EngineOptions,
  views: readonly FoldedView[],
  kept: () => readonly Checkpoint[],
) {
  const { log, fingerprint, path, fs = nodeFileSystem, acceptHistoryGone = [] } = options
  const { generation } = log.base
  const continued = (name: string) => engine.continued(views.find(view => view.name === name)!)
  const foldsWhatIsLeft = (view: string) =>
    acceptHistoryGone.includes(view) && engine.plans.get(view)?.from === 0 && generation === log.base.generation
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
    continued,
    foldsWhatIsLeft,
    bases: new Bases({
      log,
      fingerprint,
      path,
      kept,
      savepoints: () => engine.savepoints.ofThisLog(),
      continued,
      foldsWhatIsLeft,
    }),
  }
}
