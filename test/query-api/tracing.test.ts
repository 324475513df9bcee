// A write or a command, its folding and the read that waits for it are one trace.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { propagation, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { openApplication } from '../../bin/open-application.ts'
import { isTraced } from '../../query-api/tracing.ts'
import seating from '../../samples/seats/app.ts'
import { openWorld, shop, type World } from './support.ts'

const exporter = new InMemorySpanExporter()
let world: World
beforeAll(async () => {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
  world = await openWorld(shop, {}, { tracing: true })
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => exporter.reset())

const spans = () => exporter.getFinishedSpans()
const named = (name: string) => spans().find(span => span.name === name)
const traceparent = (traceId: string) => ({ traceparent: `00-${traceId}-00f067aa0ba902b7-01` })

test('an append, its folding, and the read that waits for it', async () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  const written = await world.post('/v1/topics/purchases', { customer: 'ada', cents: 5 }, traceparent(traceId))
  const path = `/v1/views/spending/rows/ada?after=${written.body['token']}`
  expect((await fetch(world.url + path, { headers: traceparent(traceId) })).status).toBe(200)
  await vi.waitFor(() => expect(spans()).toHaveLength(3))
  const write = named('POST /v1/topics/:topic')!
  const fold = named('fold')!
  const read = named('GET /v1/views/:view/rows/:key')!
  for (const span of [write, fold, read]) expect(span.spanContext().traceId).toBe(traceId)
  expect(write.parentSpanContext?.spanId).toBe('00f067aa0ba902b7')
  expect(fold.parentSpanContext?.spanId).toBe(write.spanContext().spanId)
  expect(read.links.map(link => link.context.spanId)).toEqual([write.spanContext().spanId])
  const [position] = written.body['positions'] as string[]
  expect([write, fold].map(span => span.attributes['mainstem.position'])).toEqual([position, position])
  expect(read.attributes).toMatchObject({
    'http.request.method': 'GET',
    'http.route': '/v1/views/:view/rows/:key',
    'url.path': '/v1/views/spending/rows/ada',
    'http.response.status_code': 200,
  })
})

test('a command, the folding of its events, and the read that waits for them', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'mainstem-tracing-'))
  const seats = await openApplication(seating, { dataDir, listen: { port: 0, tracing: true } })
  try {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4737'
    const body = JSON.stringify({ type: 'hold', holder: 'ada' })
    const init = { method: 'POST', body, headers: traceparent(traceId) }
    const sent = await fetch(`${seats.url}/v1/commands/seats/hamlet,A1`, init)
    const { token } = (await sent.json()) as { token: string }
    await fetch(`${seats.url}/v1/views/seats/rows/hamlet,A1?after=${token}`, { headers: traceparent(traceId) })
    await vi.waitFor(() => expect(spans()).toHaveLength(3))
    const command = named('POST /v1/commands/:decider/:id')!
    const fold = named('fold')!
    const read = named('GET /v1/views/:view/rows/:key')!
    for (const span of [command, fold, read]) expect(span.spanContext().traceId).toBe(traceId)
    expect(fold.parentSpanContext?.spanId).toBe(command.spanContext().spanId)
    expect(read.links.map(link => link.context.spanId)).toEqual([command.spanContext().spanId])
  } finally {
    await seats.close()
    await rm(dataDir, { recursive: true })
  }
})

test('a request without a trace begins one; what is wrong with it is said as ever', async () => {
  const answers = [await world.get('/v1/views/spending/rows/ada?after=odd'), await world.get('/v1/none')]
  expect(answers.map(answer => answer.status)).toEqual([400, 404])
  expect((await world.post('/v1/topics/purchases', '{', { traceparent: 'x' })).status).toBe(400)
  await vi.waitFor(() => expect(spans()).toHaveLength(3))
  expect(new Set(spans().map(span => span.spanContext().traceId)).size).toBe(3)
  for (const span of spans()) expect(span.parentSpanContext).toBeUndefined()
})

test('spans are made where the environment asks for them', () => {
  expect(isTraced({})).toBe(false)
  expect(isTraced({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' })).toBe(true)
})
