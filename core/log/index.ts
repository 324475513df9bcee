export { type EmbeddedLog, type EmbeddedLogOptions, openEmbeddedLog } from './embedded-log.ts'
export { type File, type FileSystem, type FolderLock, nodeFileSystem, type VolumeSpace } from './file-system.ts'
export type * from './log.ts'
export type { LogEvent } from './recovery.ts'
