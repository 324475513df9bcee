// A port for a server that has to be told one. Between finding it and taking it another process may take it: whoever
// uses this tries again.
import { once } from 'node:events'
import { createServer } from 'node:net'

/** A port on 127.0.0.1 that was free a moment ago. */
export async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}
