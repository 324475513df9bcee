// What is appended between two transactions of a stream, while it is held: when all before it is durable.
import { fail, type Log } from '../../core/index.ts'
import type { Pipeline } from './pipeline.ts'
import type { Technology } from './technology.ts'

export interface BetweenParts<P> {
  readonly technology: Technology<P>
  readonly pipeline: Pipeline<P>
}

/** Resolves when the batch is durable. What the log refuses ends the attempt, and with it this. @throws NOT_READY */
export async function appendBetween<P>(parts: BetweenParts<P>, batch: ReturnType<Log['batch']>): Promise<void> {
  const { technology, pipeline } = parts
  const { source, positions } = technology
  const { complete } = pipeline
  pipeline.append(batch, { source, position: positions.format(complete) }, complete)
  await durable(parts)
}

/** Resolves when all is durable. @throws NOT_READY where something was refused */
export async function durable<P>({ pipeline, technology }: BetweenParts<P>): Promise<void> {
  await pipeline.settled()
  if (pipeline.count > 0)
    throw fail('NOT_READY', `source ${technology.source} has stopped streaming`, { hint: 'try again' })
}
