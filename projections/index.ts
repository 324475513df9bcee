// The public face of projections: declaring views and applications, and the engine that folds them.
export {
  type Aggregate,
  type Aggregates,
  count,
  countBy,
  last,
  max,
  min,
  sum,
  sumBy,
} from './aggregate.ts'
export { type Application, type ApplicationParts, application, contractsOf, partsOf } from './application.ts'
export { viewsHeld } from './checkpoint/checkpoints.ts'
export { DeciderStates } from './decider-view.ts'
export type * from './engine.ts'
export type { EngineEvent, EngineOptions } from './engine-options.ts'
export { fingerprintOf, shapeOf } from './fingerprint.ts'
export { type PlannedRange, planEqual, planRange, type RangeQuery, WHERE_BOUNDS } from './indexes/entry-range.ts'
export type { IndexField } from './indexes/index-shape.ts'
export type { RangeRead, RangeRequest } from './indexes/range-read.ts'
export { fieldBytes } from './indexes/row-index.ts'
export { KEY_ORDER } from './indexes/view-indexes.ts'
export type { Equal, FieldRange, IndexableField, Indexed, NoIndexFor, Where } from './indexes/where.ts'
export type * from './past/past.ts'
export type { Policy } from './policy.ts'
export { type Preview, previewStart } from './preview.ts'
export {
  type Context,
  type Handlers,
  type Projection,
  type ProjectionSpec,
  projection,
  type View,
} from './projection.ts'
export type { ReplayBase, ReplayOptions, ReplayReport, ReplayStatus } from './replay/replayer.ts'
export { readSavepoint, type Savepoint, type SavepointDescription } from './savepoint/savepoint-file.ts'
export {
  checkUsable,
  findSavepoint,
  type ListedSavepoint,
  type SavepointsStatus,
} from './savepoint/savepoints.ts'
export { type LocalCrewOptions, localCrew, type ShardCrew } from './shards/crew.ts'
export { inShardThread } from './shards/definition.ts'
export { openEngine } from './shards/local-engine.ts'
export { realScheduler, type Scheduler } from './shards/scheduler.ts'
export { openShardedEngine } from './shards/sharded-engine.ts'
export { startThreadCrew, type ThreadCrewOptions } from './shards/thread-crew.ts'
export type { DeadLetterEntry } from './skip/dead-letters.ts'
export type { DeadLetterDesk, Redriven } from './skip/redrive.ts'
export type { ContinuedFrom, ViewPlan } from './start-plan.ts'
export { unknownView } from './unknown-view.ts'
export type { VerifiedView, VerifyReport, VerifyStatus } from './verifier.ts'
