// Opening a source: everything is checked before anything is changed.
import {
  controlContract,
  type Log,
  type Mirror,
  openMirror,
  type SourceConnector,
  type SourceContext,
  sourceEventsContract,
} from '../../core/index.ts'
import { checkStart } from './attempt.ts'
import { announceWaiting, Connector } from './connector.ts'
import type { Technology } from './technology.ts'

/** Opens the connector of a source. @throws SOURCE_…, CONTRACT_…, LOG_BEHIND_SLOT before anything is changed anywhere */
export async function openConnector<P>(technology: Technology<P>, context: SourceContext): Promise<SourceConnector> {
  const { log, resnapshot } = context
  const { source, tables, topics = [] } = technology
  const controlTopic = await log.topic(controlContract())
  const openIt = () => openMirror({ path: context.mirrorPath, log, source, tables, topics })
  const mirror = await openIt()
  const eventsTopic = await log.topic(sourceEventsContract())
  const connector = new Connector({
    technology,
    log,
    controlTopic,
    eventsTopic,
    resnapshot,
    mirror,
    openMirror: openIt,
  })
  try {
    await checkOnce(technology, log, mirror, resnapshot)
    return connector
  } catch (error) {
    await connector.stop()
    throw error
  }
}

/** A database that is down matters only where nothing has been read from it yet: later the connector retries. */
async function checkOnce<P>(technology: Technology<P>, log: Log, mirror: Mirror, resnapshot: boolean): Promise<void> {
  try {
    const session = await technology.connect({
      signal: new AbortController().signal,
      onWaiting: reason => announceWaiting(technology, reason),
    })
    try {
      await checkStart({ technology, log, mirror, resnapshot }, session)
    } finally {
      session.close()
    }
  } catch (error) {
    const known = technology.explain(error)
    if (known.code === 'SOURCE_UNREACHABLE' && mirror.control.phase !== 'none') return
    throw known
  }
}
