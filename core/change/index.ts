export {
  CONTROL_TOPIC,
  type ControlEvent,
  type ControlRecord,
  type ControlState,
  controlContract,
} from './control.ts'
export { MIRROR_COMMIT_ROWS, Mirror, type MirrorTable, openMirror } from './mirror.ts'
export { type ParkNotice, type PlacedParked, placeParked, Recorder, type RefusedRow, refusedBy } from './recorder.ts'
export * from './source.ts'
