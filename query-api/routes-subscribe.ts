// Subscriptions over HTTP, as server-sent events.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { LiveView } from '../projections/index.ts'
import { whileConnected } from './connected.ts'
import { RETRY_MS_MAX, RETRY_MS_MIN } from './limits.ts'
import { checkNames, flag, type Query, rawTexts, text, timeoutOf, tokensOf } from './parameters.ts'
import { selectingOf } from './range-query.ts'
import type { Reads, ServedView } from './reads.ts'
import { headerOf, parseKey, queryOf } from './routes-reads.ts'
import { type Selecting, wantedOf } from './subscriptions/selection.ts'
import { SocketSubscriber } from './subscriptions/socket-subscriber.ts'
import type { Opened } from './subscriptions/subscriptions.ts'

export const EVENT_STREAM = 'text/event-stream; charset=utf-8'

export function addSubscribeRoute(server: FastifyInstance, reads: Reads): void {
  server.get<{ Params: { readonly view: string } }>('/v1/views/:view/subscribe', async (request, reply) => {
    const query = queryOf(request)
    const served = reads.view(request.params.view)
    const { live } = served
    const { viewer } = request
    const { selecting, rest } = selectedIn(live, query, request.raw.url ?? '')
    checkNames(rest, ['after', 'timeoutMs', 'sources', 'lastEventId'], ['keys', 'prefix', 'where.FIELD'])
    const wanted = wantedOf(live, selecting, viewer?.filter(live))
    const [after, timeoutMs, sources] = [tokensOf(query['after']), timeoutOf(query), flag(query, 'sources')]
    const lastEventId = lastEventIdOf(request, query)
    live.check()
    const head = headOf(served, reply)
    if (request.method === 'HEAD') return reply.headers(head).send()
    const { subscriptions } = reads
    const opened = await whileConnected(reply, signal =>
      subscriptions.prepare({ served, wanted, after, timeoutMs, lastEventId, signal }),
    )
    reply.hijack()
    const socket = await begun(reply, head, opened)
    if (socket === undefined) return reply
    const { limits } = subscriptions
    subscriptions.peers.watch(socket)
    const end = () => void reply.raw.end()
    new SocketSubscriber({ opened, socket, limits, sources, viewer, end }).begin()
    return reply
  })
}

/** The socket, once the head is sent; undefined where the client has gone. */
async function begun(
  { raw }: FastifyReply,
  head: Readonly<Record<string, string>>,
  opened: Opened,
): Promise<Socket | undefined> {
  try {
    // Answers to requests that came before it on its connection come first.
    if (!raw.socket && !raw.destroyed) await Promise.race([once(raw, 'socket'), once(raw, 'close')])
  } finally {
    if (!raw.socket || raw.destroyed) opened.close()
  }
  const { socket } = raw
  if (!socket || raw.destroyed) return undefined
  // Not in chunks: the answer ends with its connection.
  raw.removeHeader('transfer-encoding')
  raw.writeHead(200, head)
  raw.flushHeaders()
  const retryMs = Math.round(RETRY_MS_MIN + Math.random() * (RETRY_MS_MAX - RETRY_MS_MIN))
  socket.write(`retry: ${retryMs}\n\n`)
  return socket
}

function headOf(served: ServedView, reply: FastifyReply): Record<string, string> {
  const types = headerOf(served)
  const given = Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)] as const)
  return {
    ...Object.fromEntries(given),
    'content-type': EVENT_STREAM,
    'cache-control': 'no-store, no-transform',
    // Of nginx: what comes is passed on as it comes.
    'x-accel-buffering': 'no',
    connection: 'close',
    ...(types === undefined ? {} : { 'mainstem-types': types }),
  }
}

/** @param url as it was sent: keys are written as in a path @throws REQUEST_INVALID, KEY_MALFORMED */
function selectedIn(
  live: LiveView,
  query: Query,
  url: string,
): { readonly selecting: Selecting; readonly rest: Query } {
  const { keys, ...others } = query
  const { selecting, rest } = selectingOf(live, others, url)
  if (keys === undefined) return { selecting, rest }
  return { selecting: { ...selecting, keys: rawTexts(url, 'keys').map(text => parseKey(live.key, text)) }, rest }
}

/** What a browser sends when it connects again; a parameter for those who cannot. */
function lastEventIdOf(request: FastifyRequest, query: Query): string | undefined {
  const header = request.headers['last-event-id']
  const given = typeof header === 'string' && header !== '' ? header : undefined
  return given ?? text(query, 'lastEventId')
}
