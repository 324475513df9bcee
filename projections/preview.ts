// What a start would do with each view: the plan of a start, made of what is on disk, without any effect.
import {
  type ErrorReport,
  type FileSystem,
  installPurityGuards,
  type LogFacts,
  nodeFileSystem,
  readOnly,
  reportOf,
} from '../core/index.ts'
import type { ApplicationParts } from './application.ts'
import { Checkpoints } from './checkpoint/checkpoints.ts'
import type { EngineEvent } from './engine-options.ts'
import { historyGone } from './history.ts'
import type { Savepoint } from './savepoint/savepoint-file.ts'
import { type ViewPlan, wholePlan } from './start-plan.ts'
import { StateMemory } from './state/memory.ts'
import { FoldedView } from './view.ts'

export interface PreviewOptions {
  /** With the application's topics registered. */
  readonly log: LogFacts
  readonly parts: ApplicationParts
  readonly fingerprint: string
  /** Folder of the checkpoints; it may be missing. */
  readonly path: string
  readonly savepoint?: Savepoint | undefined
  readonly continueFrom: readonly string[]
  readonly acceptHistoryGone: readonly string[]
  readonly fs?: FileSystem
}

export interface Preview {
  readonly plan: Extract<EngineEvent, { event: 'start-plan' }>
  /** What is wrong with the newest checkpoint's description; files of rows are not read. */
  readonly damage: ErrorReport | undefined
  /** Views that would be stopped, and why. */
  readonly stopped: readonly (ErrorReport & { readonly view: string })[]
}

/** @throws VIEW_CANNOT_CONTINUE, DEFINITION_INVALID: as the start would */
export async function previewStart(options: PreviewOptions): Promise<Preview> {
  const { log, parts, fingerprint, path, savepoint, continueFrom, acceptHistoryGone, fs = nodeFileSystem } = options
  installPurityGuards()
  const none = new StateMemory(0)
  const views = parts.projections.map(each => new FoldedView(each, { position: 0, timeMs: 0 }, none))
  const checkpoints = await Checkpoints.open({ fs: readOnly(fs), path, log, members: [], fingerprint, savepoint })
  const plans: readonly ViewPlan[] = checkpoints.plan(views, continueFrom)
  const stopped = views.flatMap((view, n) => {
    view.position = plans[n]!.from
    const gone = acceptHistoryGone.includes(view.name) ? undefined : historyGone(view, log)
    return gone ? [{ view: view.name, ...reportOf(gone) }] : []
  })
  return { plan: wholePlan(plans), damage: checkpoints.damage && reportOf(checkpoints.damage), stopped }
}
