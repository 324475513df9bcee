export {
  type ControlEvent,
  type ControlRecord,
  type ControlState,
  controlContract,
} from './control.ts'
export {
  applyParked,
  MIRROR_COMMIT_ROWS,
  MIRROR_COMMITS_MAX,
  Mirror,
  type MirrorTable,
  mirrorHeld,
  openMirror,
} from './mirror.ts'
export { isCutRaw, type PlacedParked, placeParked, Recorder, type RefusedRow, refusedBy } from './recorder.ts'
export * from './source.ts'
