// How far a projection's events have been published stands in the log's own marks, atomically with the events: the mark of the
// pseudo source `emit:<projection>`, its position being that of the last record that caused one. No source can have such a name.
import type { Log, SourceMark } from './log.ts'

const PREFIX = 'emit:'

/** The mark of a batch that holds all that a projection emitted for records up to `cause`. */
export const emitMark = (projection: string, cause: number): SourceMark => ({
  source: `${PREFIX}${projection}`,
  position: String(cause),
})

/** The projection that published a batch; undefined where nobody did. */
export const emitterOf = (source: string): string | undefined =>
  source.startsWith(PREFIX) ? source.slice(PREFIX.length) : undefined

/** Position up to which what a projection emits is in the log; 0 where nothing is. */
export const emittedUpTo = (log: Pick<Log, 'mark'>, projection: string): number =>
  Number(log.mark(`${PREFIX}${projection}`)?.position ?? 0)
