// What the log does in the background, as functions of plain data: what they are given and what they give can be sent to
// another thread. A job writes files under temporary names only; what makes its work count (a rename, a removal, a change of
// what readers see) is done by whoever asked for it.

import { type BaseOutcome, type CleanJob, estimateBase, writeBase } from './base/clean-job.ts'
import type { FileSystem } from './file-system.ts'
import { type SealJob, sealSegment } from './sealed/seal-job.ts'

/** Each job by name: what it takes and what it gives, both of plain data. */
export interface JobTypes {
  /** Writes a sealed segment under its temporary name, durable. */
  readonly seal: { readonly input: SealJob; readonly output: undefined }
  /** Writes the files of a new base under their temporary names, durable. */
  readonly clean: { readonly input: CleanJob; readonly output: BaseOutcome }
  /** Writes nothing: gives how many records of each segment would go. */
  readonly estimate: { readonly input: CleanJob; readonly output: readonly number[] }
}

export type JobName = keyof JobTypes

export type Jobs = {
  readonly [K in JobName]: (
    fs: FileSystem,
    input: JobTypes[K]['input'],
    /** Aborted when the log closes: the job then ends soon, by throwing. */
    signal: AbortSignal,
  ) => Promise<JobTypes[K]['output']>
}

export const jobs: Jobs = { seal: sealSegment, clean: writeBase, estimate: estimateBase }
