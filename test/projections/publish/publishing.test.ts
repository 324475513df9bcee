import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { application, projection } from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { app, emittedFrom, payments, paymentsIn, publishedIn, useWorld, verdicts, world } from './world.ts'

useWorld()

const turns = async (count: number) => {
  for (let n = 0; n < count; n++) await new Promise(resolve => setImmediate(resolve))
}

/** Traffic, checkpoints and kills as a seed decides. */
async function killedOften(seed: number, rounds: number, shards = 0): Promise<void> {
  const random = new Random(seed)
  await world.open(app, 'one', shards)
  for (let round = 0; round < rounds; round++) {
    for (let n = random.int(6); n > 0; n--) {
      void world.pay(random, 1 + random.int(random.int(4) === 0 ? 200 : 4))
      await turns(random.int(8))
      if (random.int(3) === 0) await world.engine!.checkpoint()
    }
    await turns(random.int(20))
    await world.kill(random)
    await world.open(app, 'one', shards)
  }
  await world.settle()
}

describe('what projections emit', () => {
  it('is in the log once and in canonical order, what a fold of the log emits', async () => {
    await world.open()
    const random = new Random(1)
    for (let n = 0; n < 40; n++) await world.pay(random, 1 + random.int(4))
    await world.settle()
    const published = await publishedIn(world.log)
    expect(Object.keys(published).sort()).toEqual(['buckets', 'cards', 'judged'])
    expect(published).toEqual(await emittedFrom(world.log, app))
    // Of one payment: by the bytes of the cards' keys, not by their code units.
    const order = (published['cards'] ?? []).map(({ payment, card }) => ({ payment, card }))
    const sorted = order.toSorted(
      (a, b) =>
        Number(a.payment) - Number(b.payment) || Buffer.compare(Buffer.from(`${a.card}`), Buffer.from(`${b.card}`)),
    )
    expect(order).toEqual(sorted)
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('is neither lost nor doubled by kills (seed %i)', async seed => {
    await killedOften(seed, 12)
    const published = await publishedIn(world.log)
    expect(published['cards']?.length, `seed ${seed}`).toBeGreaterThan(10)
    expect(published, `seed ${seed}`).toEqual(await emittedFrom(world.log, app))
  })

  it.each([1, 2, 3])('is neither lost nor doubled where several shards fold (seed %i)', async seed => {
    await killedOften(seed, 4, 1 + seed)
    const countOf = (events: Record<string, unknown[]>) =>
      Object.values(events).reduce((sum, { length }) => sum + length, 0)
    // They keep no checkpoint whose end would say that all is published.
    while (countOf(await publishedIn(world.log)) < countOf(await emittedFrom(world.log, app))) await turns(5)
    const published = await publishedIn(world.log)
    expect(published['cards']?.length, `seed ${seed}`).toBeGreaterThan(10)
    expect(published, `seed ${seed}`).toEqual(await emittedFrom(world.log, app))
  })

  it('is the same with kills and without', async () => {
    await killedOften(77, 12)
    const killed = await publishedIn(world.log)
    const payments = await paymentsIn(world.log)
    await world.end()
    await world.begin()
    await world.open()
    await world.payAgain(payments)
    await world.settle()
    const whole = await publishedIn(world.log)
    // Positions differ, since events stand between other payments; `judged` folds the events of two in the order of the log.
    expect(killed['cards']).toEqual(whole['cards'])
    expect(killed['buckets']).toEqual(whole['buckets'])
    expect(killed['judged']).toHaveLength(whole['judged']!.length)
  })

  it('is not published again by changed code; what the new code emits later is', async () => {
    const random = new Random(5)
    await world.open()
    // The last one, number 31, causes an event: so all up to it are published.
    for (let n = 0; n < 10; n++) await world.pay(random, 3)
    await world.pay(random, 1)
    await world.settle()
    const before = (await publishedIn(world.log))['cards']!
    await world.stop()
    const cards = projection('cards', { key: z.string(), state: z.object({ n: z.int() }), emits: [verdicts] }).on(
      payments,
      'card',
      (card, payment, ctx) => {
        card.n++
        ctx.emit(verdicts, { by: 'changed', payment: payment.id, card: ctx.key, n: 0, sum: card.n })
      },
    )
    await world.open(application('fraud', { views: [cards] }), 'two')
    await world.settle()
    expect((await publishedIn(world.log))['cards']).toEqual(before)
    await world.pay(random, 3)
    await world.settle()
    const after = (await publishedIn(world.log))['cards']!
    expect(after.slice(0, before.length)).toEqual(before)
    expect(after.slice(before.length).map(({ by, payment }) => [by, payment])).toEqual([
      ['changed', 32],
      ['changed', 33],
      ['changed', 34],
    ])
  })

  it('is not published by a verification', async () => {
    const random = new Random(6)
    const engine = await world.open()
    for (let n = 0; n < 10; n++) await world.pay(random, 3)
    await world.settle()
    const { end } = world.log
    engine.verifier.start()
    while (engine.verifier.status().state === 'running') await turns(1)
    expect(engine.verifier.status().report?.views.map(({ equal }) => equal)).toEqual([true, true, true])
    expect(world.log.end).toBe(end)
  })

  it('waits for room in the log, says so, and a checkpoint waits with it', async () => {
    const random = new Random(7)
    const engine = await world.open()
    await world.pay(random, 3)
    await world.settle()
    const stands = engine.status().checkpointPosition
    let full = false
    world.disk.fault = operation =>
      full && operation === 'write' ? Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }) : undefined
    await world.pay(random, 3)
    full = true
    const waiting = () => engine.views.get('cards')?.status().waitingFor
    while (!waiting()) await turns(1)
    expect(waiting()).toBe("room in the log, to publish what 'cards' emits")
    const checkpoint = engine.checkpoint()
    await turns(50)
    expect(engine.status().checkpointPosition).toBe(stands)
    full = false
    await checkpoint
    expect(engine.status().checkpointPosition).toBeGreaterThan(stands)
    expect(waiting()).toBeNull()
    await world.settle()
    expect(await publishedIn(world.log)).toEqual(await emittedFrom(world.log, app))
  })

  it('does not hold up a stop while the log is full, nor does a savepoint that waits for it; the next start publishes it', async () => {
    const random = new Random(8)
    const engine = await world.open()
    await world.pay(random, 3)
    await world.settle()
    let full = false
    world.disk.fault = operation =>
      full && operation === 'write' ? Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }) : undefined
    await world.pay(random, 5)
    full = true
    while (!engine.views.get('cards')?.status().waitingFor) await turns(1)
    const saving = engine.savepoints.create('held-up')
    saving.catch(() => {})
    await turns(50)
    await engine.stop()
    await expect(saving).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    full = false
    await world.stop()
    await world.open()
    await world.settle()
    expect(await publishedIn(world.log)).toEqual(await emittedFrom(world.log, app))
  })
})

describe('a handler that emits', () => {
  const emitting = (emit: (ctx: { emit(topic: unknown, value: unknown): void }) => void) =>
    application('bad', {
      views: [
        projection('bad', { key: z.int(), state: z.object({ n: z.int() }), emits: [verdicts] }).on(
          payments,
          'id',
          (_state, _payment, ctx) => emit(ctx as never),
        ),
      ],
    })

  const failureOf = async (emit: Parameters<typeof emitting>[0]) => {
    const engine = await world.open(emitting(emit))
    await world.pay(new Random(1), 1)
    await engine.waitFor(world.log.end, AbortSignal.timeout(10_000))
    return engine.views.get('bad')?.status().error
  }

  it('stops its view by a value that the contract of the topic refuses, before any effect', async () => {
    const error = await failureOf(ctx => ctx.emit(verdicts, { by: 'bad', payment: 1, card: 'a', n: 'one', sum: 1 }))
    expect(error).toMatchObject({ code: 'RECORD_REFUSED', detail: expect.stringContaining('n: ') })
    expect(await publishedIn(world.log)).toEqual({})
  })

  it('stops its view by a topic that it does not declare', async () => {
    const error = await failureOf(ctx => ctx.emit(payments, { id: 1, card: 'a', shared: [], cents: 1 }))
    expect(error).toMatchObject({ code: 'DEFINITION_INVALID', hint: 'say so where it is declared: emits: [payments]' })
  })
})
