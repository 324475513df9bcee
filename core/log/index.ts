export type { Held } from './base/reach.ts'
export {
  ACTIONS_TOPIC,
  APPENDS_TOPIC,
  COMMANDS_TOPIC,
  CONTROL_TOPIC,
  SOURCE_EVENTS_TOPIC,
  VIEWS_TOPIC,
} from './control-topic.ts'
export { type BlocksAfter, blocksOf, cutAt, Sequence, type Turn } from './cut.ts'
export { type EmbeddedLog, type EmbeddedLogOptions, openEmbeddedLog } from './embedded-log.ts'
export { emitMark, emittedUpTo, emitterOf } from './emit-mark.ts'
export { type File, type FileSystem, type FolderLock, isFull, nodeFileSystem, type VolumeSpace } from './file-system.ts'
export { type FileLog, type FileLogOptions, openFileLog } from './files/file-log.ts'
export type { FileFormat } from './files/format.ts'
export type { FileInput } from './files/input.ts'
export { type FollowedLog, type FollowOptions, followLog } from './follow/followed-log.ts'
export type { Following } from './follow/followers.ts'
export type { FollowChannel, FollowerChannel } from './follow/messages.ts'
export { RECORD_BYTES_MAX } from './limits.ts'
export type * from './log.ts'
export type { LogEvent } from './recovery.ts'
export { type SharedBlockMemory, sharedBlockMemory } from './sealed/shared-blocks.ts'
export { readWhole, writeStored } from './stored-file.ts'
export { estimateClean } from './tools/estimate.ts'
export { type Exported, type ExportOptions, exportLog } from './tools/export.ts'
export { type Imported, type ImportedBatch, ImportReader, importLog } from './tools/import.ts'
export { type LogFacts, LogFolder, NO_LOG, readOnly } from './tools/offline.ts'
export {
  type BlockSummary,
  positionAt,
  type SegmentSummary,
  summarizeBlocks,
  summarizeKeyIndex,
  summarizeSegment,
  summarizeTopics,
  type TopicSummary,
} from './tools/survey.ts'
export { type Damage, type VerifyReport, verifyLog } from './tools/verify.ts'
