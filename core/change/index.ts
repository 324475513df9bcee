export type {
  AuditMismatch,
  AuditProgress,
  AuditReport,
  AuditRequest,
  AuditStatus,
  SourceAudits,
  TableAudit,
} from './audit.ts'
export {
  type ControlEvent,
  type ControlRecord,
  type ControlState,
  controlContract,
  controlRecord,
  type Reading,
  type TableReading,
} from './control.ts'
export {
  applyParked,
  type FrozenMirror,
  MIRROR_COMMITS_MAX,
  Mirror,
  mirrorHeld,
  openMirror,
} from './mirror.ts'
export type { MirrorTable } from './mirror-table.ts'
export { type EventInput, type ParkedEvent, ParkedEvents } from './parked-events.ts'
export { ParkedRows } from './parked-rows.ts'
export { isCutRaw, type RawValues, refusedBy } from './raw.ts'
export { type PlacedParked, placeParked, Recorder, type RefusedRow } from './recorder.ts'
export * from './source.ts'
export {
  readSchema,
  recordSourceEvent,
  type SchemaChange,
  type SchemaColumn,
  type SourceEventRecord,
  schemaChange,
  sourceEventsContract,
} from './source-events.ts'
