// What a replay does with live views, wherever their rows are: exchanges rows at a cut, and has a checkpoint written that has them.
import { fail, type MainstemError } from '../../core/index.ts'
import type { ReplayHost } from '../replay/replayer.ts'
import type { RefoldHost } from '../verifier.ts'
import type { CheckpointRuns } from './checkpoint-runs.ts'
import type { Folding } from './folding.ts'

export type RowExchange = Omit<ReplayHost, keyof RefoldHost | 'fs' | 'bases'>

export interface RowExchangeHost {
  readonly folding: Folding
  /** Calls back at the next cut. @param begin told whether views go on */
  atCut<T>(begin: (goesOn: boolean) => T): Promise<Awaited<T>>
  /** Why they do not. */
  failure(): MainstemError | undefined
  /** Rows of these views are exchanged at the cut that is now. @param from position of the rows with which the replay began */
  replayed(views: readonly string[], from: number): void
  readonly checkpoints: Pick<CheckpointRuns, 'rowsChanged' | 'anew'>
  /** They have been. */
  replaced(): void
}

export function rowExchange(host: RowExchangeHost): RowExchange {
  const { folding, checkpoints } = host
  return {
    position: () => folding.position,
    atCut: work =>
      host.atCut(goesOn => {
        if (!goesOn) throw host.failure() ?? fail('SHUTTING_DOWN', 'the application is shutting down')
        return work()
      }),
    keepChanged: views => folding.keepChanged(views),
    replace: async (refolded, from) => {
      const names = refolded.map(({ view }) => view.name)
      host.replayed(names, from)
      checkpoints.rowsChanged()
      await folding.replace(refolded)
      host.replaced()
      const stopped = folding.views.find(({ name, error }) => error && names.includes(name))
      if (stopped?.error) throw stopped.error
    },
    checkpoint: () => checkpoints.anew(),
  }
}
