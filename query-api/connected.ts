// Work for as long as the client is there to hear of it.
import type { FastifyReply } from 'fastify'
import { fail } from '../core/index.ts'

/** Runs work whose signal ends it when the client leaves. */
export async function whileConnected<T>(reply: FastifyReply, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const gone = new AbortController()
  const leave = () => gone.abort(fail('REQUEST_INVALID', 'the client has gone'))
  reply.raw.once('close', leave)
  try {
    return await work(gone.signal)
  } finally {
    reply.raw.off('close', leave)
  }
}
