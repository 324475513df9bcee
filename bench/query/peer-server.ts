// What people have instead of a view, behind Fastify as they would write it; or on a bare socket, which says what the load generator can.
// Its first line is the URL; it ends when its stdin does.
import { createServer } from 'node:net'
import Fastify from 'fastify'
import { check } from '../log-data.ts'

/** What a side is told. */
export interface PeerTold {
  readonly side: 'bare' | 'fastify'
  /** Of the server whose rows it has. */
  readonly url: string
  /** 0 to one below. */
  readonly keys: number
}

const JSON_TYPE = 'application/json; charset=utf-8'
const KEYS_PER_LOOKUP = 1_000

/** What that server answers, for each key the same bytes. */
async function answersOf({ url, keys }: PeerTold): Promise<readonly string[]> {
  const answers: string[] = []
  for (let from = 0; from < keys; from += KEYS_PER_LOOKUP) {
    const wanted = Array.from({ length: Math.min(KEYS_PER_LOOKUP, keys - from) }, (_, n) => from + n)
    const response = await fetch(`${url}/v1/views/customers/lookup`, {
      method: 'POST',
      body: JSON.stringify({ keys: wanted }),
    })
    const { values, ...freshness } = (await response.json()) as { values: readonly object[] }
    check(response.ok, `a lookup was answered ${response.status}`)
    answers.push(...values.map(value => JSON.stringify({ ...value, ...freshness })))
  }
  return answers
}

/** Answers of this server with no HTTP but what its own client needs. */
async function bare(told: PeerTold): Promise<number> {
  const answers = (await answersOf(told)).map(body =>
    Buffer.from(
      `HTTP/1.1 200 OK\r\ncontent-type: ${JSON_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    ),
  )
  const server = createServer({ noDelay: true }, socket => {
    socket.on('data', request => {
      // GET /v1/views/customers/rows/KEY HTTP/1.1
      socket.write(answers[Number.parseInt(request.toString('latin1', 29, 40), 10)]!)
    })
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

async function fastify(told: PeerTold): Promise<number> {
  const answers = await answersOf(told)
  const server = Fastify()
  server.get<{ Params: { readonly view: string; readonly key: string } }>(
    '/v1/views/:view/rows/:key',
    (request, reply) => {
      reply.header('content-type', JSON_TYPE).send(answers[Number(request.params.key)])
    },
  )
  await server.listen({ port: 0, host: '127.0.0.1' })
  return (server.server.address() as { port: number }).port
}

const SIDES = { bare, fastify } as const
const told = JSON.parse(process.argv[2] ?? '') as PeerTold
process.stdout.write(`http://127.0.0.1:${await SIDES[told.side](told)}\n`)
process.stdin.once('end', () => process.exit()).resume()
