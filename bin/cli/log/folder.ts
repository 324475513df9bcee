// How these commands reach a log: by HTTP, as others do, or by its files, which needs no application and disturbs none.
import { type Command, Option } from 'commander'
import { LogFolder } from '../../../core/index.ts'
import { type ClientFlags, withClientOptions } from '../client-commands.ts'

export interface FolderFlags {
  readonly dataDir: string
  readonly json?: boolean
}

/** `--url`, or `--data-dir` instead. */
export type ReachFlags = ClientFlags & Partial<FolderFlags>

const HELP = 'read the files of this data folder, also while an application runs on it'

/** Adds `--data-dir` and `--json`. */
export const withFolderOptions = (command: Command): Command =>
  command.requiredOption('--data-dir <folder>', HELP).option('--json', 'print JSON, one object as the last line')

/** Adds `--url` and `--json`, and `--data-dir` instead of the URL. */
export const withReachOptions = (command: Command): Command =>
  withClientOptions(command).addOption(new Option('--data-dir <folder>', `instead of asking an application, ${HELP}`))

/** Opens the log in a data folder for reading, for as long as `use` takes. */
export async function inFolder<T>(dataDir: string, use: (folder: LogFolder) => Promise<T>): Promise<T> {
  await using folder = await LogFolder.open(dataDir)
  return await use(folder)
}

/** ISO 8601 without what is the same in all lines of a day's work: milliseconds stay. */
export const timeText = (ms: number | null): string => (ms === null ? '' : new Date(ms).toISOString())
