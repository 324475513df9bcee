// What views are told beside their inputs stands in the log too, in the topic `mainstem.views`, so that a view stays a function of
// the log: which skipped calls an operator has had called again, and that time has passed where nothing else was appended.
import { z } from 'zod'
import { type AnyRow, type Appended, type Contract, compileContract, type Log, VIEWS_TOPIC } from '../core/index.ts'

/**
 * redrive: handlers that `view` has skipped at `positions` are called again, here · clock: its append time is all that it says;
 * `view` is empty.
 */
const schema = z.object({
  view: z.string(),
  event: z.enum(['redrive', 'clock']),
  positions: z.array(z.int()),
})

export type ViewControl = z.output<typeof schema>

const viewControlContract = (): Contract => compileContract(VIEWS_TOPIC, 'topic', schema, 'view')

export const readViewControl = (record: AnyRow): ViewControl => schema.parse(record)

/** Appends what views are to be told, as one transaction. @throws LOG_FULL, LOG_FAILED, LOG_CLOSED */
export async function appendViewControls(log: Log, controls: readonly ViewControl[]): Promise<Appended> {
  const topic = await log.topic(viewControlContract())
  const batch = log.batch()
  for (const control of controls) batch.event(topic, control)
  return batch.commit()
}
