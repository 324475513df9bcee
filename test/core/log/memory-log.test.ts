// The model is held to the same suite as the log that it is compared with.
import { MemoryLog } from '../../support/memory-log.ts'
import { describeLog } from './conformance.ts'

describeLog('arrays in memory', async () => {
  const log = new MemoryLog()
  return { log, reopen: () => log.reopen() }
})
