// What people have instead of a view, behind Fastify as they would write it; or on a bare socket, which says what the load generator can.
// Its first line is the URL; asked, it says what it took, and it ends when its stdin does.
import { createServer } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import pg from 'pg'
import { getJson, ROWS_PATH, VIEW_PATH } from './orders.ts'
import { tellUsage } from './usage.ts'

/** What a side is told. */
export interface PeerTold {
  readonly side: keyof typeof SIDES
  /** Of the server whose rows it has. */
  readonly url: string
  /** Of PostgreSQL or Redis, which it fills. */
  readonly store?: string
  /** 0 to one below. */
  readonly keys: number
}

const JSON_TYPE = 'application/json; charset=utf-8'
const KEYS_PER_LOOKUP = 1_000

interface Row {
  readonly key: number
  readonly value: object
}

/** What that server answers a lookup of all keys, page by page. */
async function* lookups({ url, keys }: PeerTold) {
  for (let from = 0; from < keys; from += KEYS_PER_LOOKUP) {
    const wanted = Array.from({ length: Math.min(KEYS_PER_LOOKUP, keys - from) }, (_, n) => from + n)
    yield getJson<{ values: readonly Row[] }>(`${url}${VIEW_PATH}/lookup`, { keys: wanted })
  }
}

async function rowsOf(told: PeerTold): Promise<readonly Row[]> {
  const rows: Row[] = []
  for await (const { values } of lookups(told)) rows.push(...values)
  return rows
}

/** What that server answers, for each key the same bytes. */
async function answersOf(told: PeerTold): Promise<readonly string[]> {
  const answers: string[] = []
  for await (const { values, ...freshness } of lookups(told))
    answers.push(...values.map(value => JSON.stringify({ ...value, ...freshness })))
  return answers
}

/** Answers of this server with no HTTP but what its own client needs. */
async function bare(told: PeerTold): Promise<number> {
  const answers = (await answersOf(told)).map(body =>
    Buffer.from(
      `HTTP/1.1 200 OK\r\ncontent-type: ${JSON_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    ),
  )
  // GET /v1/views/customers/rows/KEY HTTP/1.1
  const at = `GET ${ROWS_PATH}`.length
  const server = createServer({ noDelay: true }, socket => {
    socket.on('data', request => {
      socket.write(answers[Number.parseInt(request.toString('latin1', at, at + 10), 10)]!)
    })
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

const ROW_ROUTE = '/v1/views/:view/rows/:key'

interface RowParams {
  readonly Params: { readonly view: string; readonly key: string }
}

async function listening(server: FastifyInstance): Promise<number> {
  await server.listen({ port: 0, host: '127.0.0.1' })
  return (server.server.address() as { port: number }).port
}

async function fastify(told: PeerTold): Promise<number> {
  const answers = await answersOf(told)
  const server = Fastify()
  server.get<RowParams>(ROW_ROUTE, (request, reply) => {
    reply.header('content-type', JSON_TYPE).send(answers[Number(request.params.key)])
  })
  return listening(server)
}

const POOL = 16

/** A table of the same rows; each read is a prepared statement by primary key. */
async function postgres(told: PeerTold): Promise<number> {
  const rows = await rowsOf(told)
  const pool = new pg.Pool({ connectionString: told.store!, max: POOL })
  await pool.query(`create table customers (customer_id int primary key, count int not null, cents bigint not null, placed int not null,
    paid int not null, shipped int not null, cancelled int not null, last bigint not null)`)
  await pool.query(
    `insert into customers select key, (value->>'count')::int, (value->>'cents')::bigint, (value->'by'->>'placed')::int,
       (value->'by'->>'paid')::int, (value->'by'->>'shipped')::int, (value->'by'->>'cancelled')::int, (value->>'last')::bigint
       from json_to_recordset($1) as rows(key int, value json)`,
    [JSON.stringify(rows)],
  )
  await pool.query('vacuum analyze customers')
  const server = Fastify()
  server.get<RowParams>(ROW_ROUTE, async (request, reply) => {
    const key = Number(request.params.key)
    const { rows } = await pool.query({
      name: 'customer',
      text: 'select count, cents, placed, paid, shipped, cancelled, last from customers where customer_id = $1',
      values: [key],
    })
    const [row] = rows
    if (row === undefined) return reply.code(404).send({ error: 'not found' })
    const { count, cents, placed, paid, shipped, cancelled, last } = row
    const by = { placed, paid, shipped, cancelled }
    return { key, value: { count, cents: Number(cents), by, last: Number(last) } }
  })
  return listening(server)
}

/** The same rows as JSON text; its client sends what comes in one turn as one message. */
async function redis(told: PeerTold): Promise<number> {
  const client = new Redis(told.store!, { enableAutoPipelining: true })
  for (const { key, value } of await rowsOf(told)) void client.set(`customer:${key}`, JSON.stringify(value))
  await client.ping()
  const server = Fastify()
  server.get<RowParams>(ROW_ROUTE, async (request, reply) => {
    const key = Number(request.params.key)
    const value = await client.get(`customer:${key}`)
    if (value === null) return reply.code(404).send({ error: 'not found' })
    reply.header('content-type', JSON_TYPE)
    return `{"key":${key},"value":${value}}`
  })
  return listening(server)
}

const SIDES = { bare, fastify, postgres, redis } as const
const told = JSON.parse(process.argv[2] ?? '') as PeerTold
process.stdout.write(`http://127.0.0.1:${await SIDES[told.side](told)}\n`)
await tellUsage()
process.exit()
