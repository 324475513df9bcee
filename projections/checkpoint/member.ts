// What a shard does for checkpoints, in its own thread: loads the rows of its key groups, and writes its part. What it is asked and
// what it answers is plain data.
import { type ErrorReport, reportOf } from '../../core/index.ts'
import { migrationOf } from '../migrate.ts'
import { Turns } from '../shards/scheduler.ts'
import { LettersSink, lettersName } from '../skip/letters-file.ts'
import type { KeyGroups } from '../state/key-groups.ts'
import { loadRows, type RowsWanted, ViewRows } from './load.ts'
import { CheckpointPart, type PartOptions, type PartReport, type PartRequest, type RowFile } from './part.ts'
import type { RowsHash } from './row-hash.ts'

export interface CheckpointMember {
  readonly groups: KeyGroups
  /** Fills views, which are empty. @throws CHECKPOINT_CORRUPT: some rows have come then */
  load(request: LoadRequest): Promise<LoadReport>
  /** Writes its part of a checkpoint of this moment, which must be a cut. @throws what the disk threw */
  write(request: PartRequest): Promise<PartReport>
  /** Lets all rows go that were loaded. */
  reset(): void
}

export interface LoadRequest {
  readonly folder: string
  readonly views: readonly LoadedView[]
  /** A file that the next part goes on with, since it has all of this shard's rows and no others. */
  readonly resume: RowFile | undefined
}

export interface LoadedView {
  readonly name: string
  readonly files: readonly RowFile[]
  /** Digest of the form in which its rows are stored. */
  readonly state: string
}

/** By view: what its rows are as they are stored, or why they cannot be had. */
export type LoadReport = Readonly<Record<string, RowsHash | { readonly error: ErrorReport }>>

/** A shard whose views are here. */
export class ShardCheckpoints implements CheckpointMember {
  readonly #options: PartOptions
  readonly #part: CheckpointPart

  constructor(options: PartOptions) {
    this.#options = options
    this.#part = new CheckpointPart(options)
  }

  get groups(): KeyGroups {
    return this.#options.groups
  }

  async load({ folder, views, resume }: LoadRequest): Promise<LoadReport> {
    const { fs, logId, groups, scheduler, sliceMs } = this.#options
    const loading = views.map(each => {
      const part = this.#part.views.find(({ view }) => view.name === each.name)!
      const rows = new ViewRows(part, migrationOf(part.view, each.state))
      return { ...each, part, rows }
    })
    const skipped = loading.flatMap(({ name, files, part: { view } }) =>
      view.deadLetters ? [{ name, files, sink: new LettersSink(view.deadLetters) }] : [],
    )
    const wanted = new Map<string, RowsWanted>([
      ...loading.map(({ name, rows: sink, files }) => [name, { sink, files }] as const),
      ...skipped.map(({ name, sink, files }) => [lettersName(name), { sink, files }] as const),
    ])
    await loadRows({ fs, folder, logId, groups, turns: new Turns(scheduler, sliceMs) }, wanted)
    if (resume !== undefined) this.#part.resume(resume)
    const ended = loading.map(({ name, part, rows }) => {
      const error = rows.error ?? skipped.find(each => each.name === name)?.sink.error
      if (error) return [name, { error: reportOf(error) }] as const
      rows.end()
      return [name, part.sums.total()] as const
    })
    return Object.fromEntries(ended)
  }

  write(request: PartRequest): Promise<PartReport> {
    this.#part.begin(request)
    return this.#part.finish()
  }

  /** Resolves when the disk is not far behind; undefined where it is not now, so that folding need not wait. */
  room(): Promise<void> | undefined {
    return this.#part.room()
  }

  reset(): void {
    for (const part of this.#part.views) {
      part.drop()
      part.view.reset()
    }
  }

  close(): Promise<void> {
    return this.#part.close()
  }
}
