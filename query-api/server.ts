// The HTTP server: Fastify, its limits, and what it answers where no route does. The only file that loads fastify;
// `openServer` of the index imports it when HTTP is wanted.
import { type RequestListener, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server as TlsServer } from 'node:tls'
import cors from '@fastify/cors'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Commands, fail, isMainstemError, type MainstemError, textOf } from '../core/index.ts'
import type { LiveView } from '../projections/index.ts'
import { ActionLog } from './actions.ts'
import { Appends } from './append.ts'
import { CommandCalls } from './command-calls.ts'
import { DirectConnections } from './direct/connections.ts'
import { RowAnswers, type RowAnswersParts } from './direct/row-answers.ts'
import { directRows } from './direct/row-requests.ts'
import { HealthMonitor } from './health.ts'
import { KeyedAppends } from './keyed-appends.ts'
import {
  BODY_BYTES_MAX,
  CLOSE_MS_MAX,
  CONNECTIONS_CHECK_MS,
  CONNECTIONS_MAX,
  CORS_MAX_AGE_SECONDS,
  HEAD_BYTES_MAX,
  HEADERS_TIMEOUT_MS,
  HEALTH_SAMPLE_MS,
  HOST_DEFAULT,
  KEEP_ALIVE_PROBE_MS,
  LAST_WORD_MS_MAX,
  PORT_DEFAULT,
  REQUEST_TIMEOUT_MS,
  STALL_MS_MAX,
} from './limits.ts'
import { Metrics } from './metrics.ts'
import { createOpenApi } from './openapi.ts'
import { PROBLEM_JSON, pathOf, problemOf } from './problem.ts'
import { SourceRates } from './rates.ts'
import { allowedMethods } from './route-table.ts'
import { addActionRoutes, recordActions } from './routes-actions.ts'
import { addAuditRoutes } from './routes-audit.ts'
import { addCommandRoutes } from './routes-commands.ts'
import { addDeadLetterRoutes } from './routes-dead-letters.ts'
import { addOperationRoutes } from './routes-operations.ts'
import { addPastRoutes, addReplayStatus } from './routes-past.ts'
import { addReadRoutes } from './routes-reads.ts'
import { addRowRoutes } from './routes-rows.ts'
import { addSubscribeRoute } from './routes-subscribe.ts'
import { addTableRoutes } from './routes-tables.ts'
import { addWriteRoutes } from './routes-writes.ts'
import { addSavepointRoutes } from './savepoints.ts'
import { Access } from './security/access.ts'
import { checkExposure } from './security/exposure.ts'
import { addGuard } from './security/guard.ts'
import { RateLimit } from './security/rate-limit.ts'
import { readTls, reloadTls, type TlsContext } from './security/tls.ts'
import { logProblem, type ServerLog, standardError } from './server-log.ts'
import type { RunningServer, ServerOptions } from './server-options.ts'
import { addSnapshotRoutes } from './snapshots.ts'
import { cutStalled } from './stalled.ts'
import { Tracing } from './tracing.ts'

/** @throws ADDRESS_IN_USE, ADDRESS_INVALID, ACCESS_UNGUARDED, ACCESS_INVALID, TLS_INVALID */
export async function openServer(options: ServerOptions): Promise<RunningServer> {
  const { reads, topics, host = HOST_DEFAULT, allowAnonymous = false } = options
  checkExposure({ host, allowAnonymous, guarded: options.access !== undefined, views: reads.engine.views.values() })
  const log = options.log ?? standardError
  const report = (err: unknown, what: string) => log.error({ err }, what)
  const certificate = options.tls && readTls(options.tls)
  const access =
    options.access &&
    (await Access.open({ ...options.access, onKeysFailed: error => report(error, 'reading the file of API keys') }))
  const { readyLagMs } = options
  const ageMs = (view: LiveView) => reads.freshness([view]).ageMs
  const lag = readyLagMs === undefined ? {} : { lag: { ageMs, readyMs: readyLagMs } }
  const health = new HealthMonitor({ engine: reads.engine, log: reads.log, sources: reads.sources, ...lag })
  const rates = new SourceRates()
  const sampler = setInterval(() => {
    health.observe()
    rates.observe(reads.sources)
  }, HEALTH_SAMPLE_MS)
  rates.observe(reads.sources)
  sampler.unref()
  const server = createFastify(options, certificate, log)
  const listener: unknown = server.server
  const tls =
    options.tls && listener instanceof TlsServer
      ? reloadTls(listener, options.tls, error => report(error, 'reading TLS files'))
      : undefined
  const metrics = new Metrics(reads, rates)
  metrics.watch(server)
  if (options.tracing) new Tracing(reads.engine, reads.log).watch(server)
  server.decorate('metrics', metrics)
  await addCors(server, options.corsOrigins ?? [])
  const { requestsPerSecondMax } = options
  const rateLimit = requestsPerSecondMax === undefined ? undefined : new RateLimit(requestsPerSecondMax)
  addGuard(server, { access, rateLimit })
  const actions = new ActionLog(reads.log)
  recordActions(server, actions, report)
  const commands = options.commands ?? new Commands({ log: reads.log, deciders: [] })
  const calls = new CommandCalls(commands, reads.log.id)
  const deciders = calls.deciders.map(({ name }) => name)
  const appends = new Appends(reads.log, topics, deciders)
  const openapi = createOpenApi(options, calls)
  addReadRoutes(server, reads)
  addRowRoutes(server, reads)
  addPastRoutes(server, reads)
  addSubscribeRoute(server, reads)
  addDeadLetterRoutes(server, reads)
  addReplayStatus(server, reads)
  addWriteRoutes(server, appends, new KeyedAppends(reads.log, appends), reads)
  addCommandRoutes(server, calls)
  addTableRoutes(server, reads)
  addAuditRoutes(server, reads)
  addSavepointRoutes(server, reads)
  addOperationRoutes(server, {
    application: options.application,
    reads,
    health,
    rates,
    metrics,
    openapi: JSON.stringify(openapi),
  })
  addSnapshotRoutes(server, reads)
  addActionRoutes(server, actions)
  // Spans and the headers of CORS are made by hooks.
  const direct =
    options.tracing || options.corsOrigins?.length ? undefined : answerDirectly(server, { reads, access, rateLimit })
  const close = async (drainMs = 0) => {
    health.drain()
    direct?.answers.end()
    if (drainMs > 0) await sleep(drainMs)
    clearInterval(sampler)
    access?.close()
    tls?.close()
    reads.close()
    await closeServer(server, direct)
  }
  try {
    const url = await listen(server, host, options.port ?? PORT_DEFAULT)
    let closing: Promise<void> | undefined
    const closeOnce = () => {
      closing ??= close(options.drainMs)
      return closing
    }
    return { url, close: closeOnce, [Symbol.asyncDispose]: closeOnce }
  } catch (error) {
    await close()
    throw error
  }
}

interface Direct {
  readonly answers: RowAnswers
  readonly connections: DirectConnections
}

/** Puts what answers rows by key in front of Node's HTTP server and of Fastify. */
function answerDirectly(server: FastifyInstance, parts: Omit<RowAnswersParts, 'count'>): Direct {
  const answers = new RowAnswers({ ...parts, count: server.metrics.counterOf('GET', '/v1/views/:view/rows/:key') })
  const { server: http } = server
  const [otherwise] = http.listeners('request') as [RequestListener]
  http.off('request', otherwise).on('request', directRows(answers, otherwise))
  const limits = { headersTimeoutMs: http.headersTimeout, keepAliveMs: http.keepAliveTimeout }
  return { answers, connections: new DirectConnections(http, answers, limits) }
}

function createFastify(options: ServerOptions, certificate: TlsContext | undefined, log: ServerLog): FastifyInstance {
  const requestTimeout = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS
  const headersTimeout = Math.min(options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS, requestTimeout)
  const connections = {
    requestTimeout,
    headersTimeout,
    connectionsCheckingInterval: Math.min(CONNECTIONS_CHECK_MS, headersTimeout),
    maxHeaderSize: HEAD_BYTES_MAX,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
  }
  const bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_MAX
  const answerError = (error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply) =>
    sendError(asProblem(error, bodyBytesMax), error, request, reply, log)
  const server: FastifyInstance = Fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    // Requests that arrive while closing are still answered; reads that would wait get SHUTTING_DOWN from the reads.
    return503OnClosing: false,
    requestIdHeader: 'x-request-id',
    forceCloseConnections: 'idle',
    requestTimeout,
    ...(certificate ? { https: { ...certificate, ...connections } as never } : { http: connections }),
    // No key is cut by the router.
    routerOptions: { maxParamLength: HEAD_BYTES_MAX },
    frameworkErrors: answerError,
    clientErrorHandler: answerBrokenRequest,
  })
  cutStalled(server.server, options.stallTimeoutMs ?? STALL_MS_MAX)
  server.server.maxConnections = options.connectionsMax ?? CONNECTIONS_MAX
  // Whatever a client calls it, a body is JSON: `curl -d` says application/x-www-form-urlencoded.
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('*', { parseAs: 'string' }, (_, body, done) => done(null, body))
  server.setErrorHandler<FastifyError>(answerError)
  server.setNotFoundHandler(answerUnknownRoute)
  return server
}

/** Pages of the origins that are listed may call from browsers, with a key or token, and see what our headers say. */
async function addCors(server: FastifyInstance, origins: readonly string[]): Promise<void> {
  server.decorate('corsOrigins', new Set(origins))
  if (origins.length === 0) return
  await server.register(cors, {
    origin: [...origins],
    methods: ['GET', 'HEAD', 'POST', 'DELETE'],
    exposedHeaders: [
      'mainstem-types',
      'mainstem-position',
      'mainstem-age-ms',
      'mainstem-rows',
      'mainstem-final',
      'etag',
      'retry-after',
    ],
    maxAge: CORS_MAX_AGE_SECONDS,
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    readonly metrics: Metrics
  }
}

function sendError(
  known: MainstemError,
  error: Error,
  request: FastifyRequest,
  reply: FastifyReply,
  log: ServerLog,
): void {
  logProblem(log, known, error, request)
  // By it what was logged is found.
  if (known.status === 500) reply.header('x-request-id', request.id)
  if (known.status === 503 && known.retriable) reply.header('retry-after', '1')
  if (known.status === 429) reply.header('retry-after', String(known.data?.['retryAfterSeconds'] ?? 1))
  if (known.status === 401) reply.header('www-authenticate', 'Bearer')
  // RFC 9110 wants to know what is allowed instead: nothing.
  if (known.status === 405) reply.header('allow', '')
  sendProblem(known, request, reply)
}

export function sendProblem(error: MainstemError, request: FastifyRequest, reply: FastifyReply): void {
  request.server.metrics.problem(error.code)
  const body = JSON.stringify(problemOf(error, pathOf(request.url)))
  reply.code(error.status).header('content-type', PROBLEM_JSON).send(body)
}

/** Fastify's own errors under our codes; what is not expected becomes INTERNAL, and its text stays inside. */
function asProblem(error: FastifyError | Error, bodyBytesMax: number): MainstemError {
  if (isMainstemError(error)) {
    // A key that cannot be stored cannot be asked for either; here it came with the request.
    if (error.code !== 'KEY_INVALID') return error
    return fail(
      'KEY_MALFORMED',
      error.message,
      error.detail === undefined ? { cause: error } : { detail: error.detail, cause: error },
    )
  }
  const code = 'code' in error ? error.code : undefined
  const status = 'statusCode' in error ? error.statusCode : undefined
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return fail('BODY_TOO_LARGE', 'the body is too large', {
      hint: `send at most ${bodyBytesMax} bytes; larger sets as several requests`,
    })
  }
  if (code === 'FST_ERR_BAD_URL') {
    return fail('REQUEST_INVALID', 'the path is not percent-encoded text', { hint: 'a % in a key is %25' })
  }
  if (status !== undefined && status >= 400 && status < 500) {
    return fail('REQUEST_INVALID', 'the request is not valid', { detail: textOf(error) })
  }
  return fail('INTERNAL', 'an internal error', { cause: error, hint: 'the application has reported it on its side' })
}

function answerUnknownRoute(request: FastifyRequest, reply: FastifyReply): void {
  const path = pathOf(request.url)
  const allowed = allowedMethods(path)
  if (allowed.length === 0) {
    const hint = 'GET /openapi.json lists the calls'
    sendProblem(fail('ROUTE_UNKNOWN', `there is no ${path.slice(0, 200)}`, { hint }), request, reply)
    return
  }
  reply.header('allow', allowed.join(', '))
  const hint = `use ${allowed.join(' or ')}`
  sendProblem(fail('METHOD_NOT_ALLOWED', `${request.method} is not possible here`, { hint }), request, reply)
}

/** What is not HTTP, or larger than a request's head may be: answered on the bare socket, which then ends. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const known =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? fail('HEAD_TOO_LARGE', "the request's head is too large", {
          detail: `its URL and headers together are larger than ${HEAD_BYTES_MAX / 1024} KiB`,
          hint: 'ask for fewer keys at a time: by lookup, whose keys are in its body; as several subscriptions, or as one to a prefix or to values',
        })
      : fail('REQUEST_INVALID', 'this is not a valid HTTP request', { detail: error.code ?? 'it is malformed' })
  const body = JSON.stringify(problemOf(known))
  const head = `HTTP/1.1 ${known.status} ${STATUS_CODES[known.status]}\r\ncontent-type: ${PROBLEM_JSON}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n`
  socket.end(head + body)
  // It may be that it never ends its side, or has gone.
  const timer = setTimeout(() => socket.destroy(), LAST_WORD_MS_MAX).unref()
  socket.once('close', () => clearTimeout(timer))
}

async function listen(server: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    await server.listen({ host, port })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EADDRINUSE') throw fail('ADDRESS_IN_USE', `port ${port} on ${host} is in use`, { cause: error })
    throw fail('ADDRESS_INVALID', `cannot listen on ${host}, port ${port}`, {
      detail: textOf(error),
      hint: 'give a --host of this machine and a --port that this user may open',
      cause: error,
    })
  }
  const address = server.server.address()
  const actual = typeof address === 'object' && address !== null ? address.port : port
  const listener: unknown = server.server
  const scheme = listener instanceof TlsServer ? 'https' : 'http'
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${actual}`
}

/** Stops accepting, gives requests in flight their time, then cuts what is left. */
async function closeServer(server: FastifyInstance, direct: Direct | undefined): Promise<void> {
  const timer = setTimeout(() => {
    server.server.closeAllConnections()
    direct?.connections.destroy()
  }, CLOSE_MS_MAX)
  direct?.connections.close()
  try {
    await server.close()
  } finally {
    clearTimeout(timer)
  }
}
