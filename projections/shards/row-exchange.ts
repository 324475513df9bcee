// What a replay does with live views, wherever their rows are: exchanges rows at a cut, and has a checkpoint written that has them.
import type { RecordedChanges } from '../feed/recorder.ts'
import type { ReplayHost } from '../replay/replayer.ts'
import type { RefoldHost } from '../verifier.ts'
import type { CheckpointRuns } from './checkpoint-runs.ts'
import type { Folding } from './folding.ts'

export type RowExchange = Omit<ReplayHost, keyof RefoldHost | 'fs' | 'bases'>

export interface RowExchangeHost {
  readonly folding: Folding
  /** Calls back at the next cut. @throws why views do not go on */
  atCut<T>(begin: () => T): Promise<Awaited<T>>
  /** Rows of these views are exchanged at the cut that is now. @param from position of the rows with which the replay began */
  replayed(views: readonly string[], from: number): void
  readonly checkpoints: Pick<CheckpointRuns, 'rowsChanged' | 'anew'>
  /** They have been. @param changes of rows, of views that are fed */
  replaced(changes: readonly RecordedChanges[]): void
}

export function rowExchange(host: RowExchangeHost): RowExchange {
  const { folding, checkpoints } = host
  return {
    position: () => folding.position,
    atCut: work => host.atCut(work),
    keepChanged: views => folding.keepChanged(views),
    replace: async (refolded, from) => {
      const names = refolded.map(({ view }) => view.name)
      host.replayed(names, from)
      checkpoints.rowsChanged()
      host.replaced(await folding.replace(refolded))
      const stopped = folding.views.find(({ name, error }) => error && names.includes(name))
      if (stopped?.error) throw stopped.error
    },
    checkpoint: () => checkpoints.anew(),
  }
}
