// Rows of a base into views that fold on from there: all of them, or those of some keys.
import type { FileSystem } from '../../core/index.ts'
import { loadRows, type RowsWanted, ViewRows } from '../checkpoint/load.ts'
import type { RowLookup } from '../checkpoint/lookup.ts'
import { ViewPart } from '../checkpoint/part.ts'
import { corrupt } from '../checkpoint/row-file-reader.ts'
import { migrationOf } from '../migrate.ts'
import type { Turns } from '../shards/scheduler.ts'
import { LettersSink, lettersName } from '../skip/letters-file.ts'
import { ALL_GROUPS } from '../state/key-groups.ts'
import type { StateMemory } from '../state/memory.ts'
import type { FoldedView } from '../view.ts'
import type { Base } from './bases.ts'

export interface BaseRows {
  readonly fs: FileSystem
  readonly logId: string
  readonly base: Base
  /** Of the views. */
  readonly memory: StateMemory
  readonly turns: Pick<Turns, 'over' | 'next'>
}

/** One view whose rows are being loaded. */
interface Loading {
  readonly view: FoldedView
  readonly part: ViewPart
  readonly rows: ViewRows
  readonly letters: LettersSink | undefined
}

/** Loads all rows of views, which are empty. @throws CHECKPOINT_CORRUPT, STATE_TOO_LARGE, MIGRATION_FAILED */
export async function loadAll(options: BaseRows, views: readonly FoldedView[]): Promise<void> {
  const { fs, logId, base, turns } = options
  const loading = views.map(view => begin(options, view))
  const wanted = new Map<string, RowsWanted>()
  for (const { view, rows, letters } of loading) {
    const { files } = base.views[view.name]!
    wanted.set(view.name, { sink: rows, files })
    if (letters) wanted.set(lettersName(view.name), { sink: letters, files })
  }
  try {
    await loadRows({ fs, folder: base.folder, logId, groups: ALL_GROUPS, turns }, wanted)
    for (const each of loading) {
      const saved = base.views[each.view.name]!
      const error = each.rows.error ?? each.letters?.error
      if (error) throw error
      const { rows, hash } = each.part.sums.total()
      if (rows !== saved.rows || hash !== saved.hash)
        throw corrupt(
          base.folder,
          `${rows} rows of '${each.view.name}' with hash ${hash}, expected ${saved.rows} with ${saved.hash}`,
        )
      end(each, base)
    }
  } finally {
    for (const { part } of loading) part.drop()
  }
}

/** Loads the rows of some keys of views, by the hashes of the keys. @throws CHECKPOINT_CORRUPT, STATE_TOO_LARGE, MIGRATION_FAILED */
export async function loadKeys(
  options: BaseRows,
  lookup: RowLookup,
  views: ReadonlyMap<FoldedView, ReadonlySet<number>>,
): Promise<void> {
  const { base, turns } = options
  const { folder, identity } = base
  for (const [view, hashes] of views) {
    const each = begin(options, view)
    const place = { folder, identity, files: base.views[view.name]!.files }
    try {
      await lookup.take({ ...place, view: view.name, hashes, sink: each.rows }, turns)
      if (each.letters) await lookup.take({ ...place, view: lettersName(view.name), hashes, sink: each.letters }, turns)
      end(each, base)
    } finally {
      each.part.drop()
    }
  }
}

function begin({ base, memory }: BaseRows, view: FoldedView): Loading {
  const take = (bytes: number) => (bytes > 0 ? memory.take(bytes) : memory.release(-bytes, 0))
  const part = new ViewPart(view, take)
  const rows = new ViewRows(part, migrationOf(view, base.views[view.name]!.facts.state))
  return { view, part, rows, letters: view.deadLetters && new LettersSink(view.deadLetters) }
}

function end({ view, rows }: Loading, { position }: Base): void {
  rows.end()
  view.position = position
}
