import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { decider } from '../../../core/index.ts'
import { application, partsOf, projection } from '../../../projections/index.ts'

const spec = {
  key: z.string(),
  state: z.object({ n: z.int() }),
  events: { Added: z.object({ n: z.int() }) },
  commands: { add: z.object({ n: z.int() }) },
  refusals: { full: 'it is full' },
}
/** As JavaScript would call it: what the compiler refuses, too. */
const declare = decider as unknown as (
  name: string,
  spec: object,
) => Record<'evolve' | 'decide', (how: object) => never>
const evolve = { Added: () => {} }
const decide = { add: () => [] }

describe('a decider', () => {
  it('is a view and a topic of its name, whose events have its key', () => {
    const seats = decider('seats', { ...spec, key: z.object({ show: z.string(), seat: z.int32() }) })
      .evolve(evolve)
      .decide(decide)
    const shows = projection('shows', { key: z.string(), state: spec.state }).on(seats, 'show', { Added: () => {} })
    const parts = partsOf(application('app', { deciders: [seats], views: [shows] }))
    expect(parts.projections.map(({ name }) => name)).toEqual(['seats', 'shows'])
    expect(parts.topics.map(({ name, key }) => [name, key])).toEqual([['seats', ['show', 'seat']]])
    const { value } = parts.topics[0]!
    const event = { type: 'Added', show: 'hamlet', seat: 1, n: 2 }
    expect(value.parse(event)).toEqual(event)
    expect(value.safeParse({ ...event, show: 1 }).success).toBe(false)
  })

  it('keeps what the schema of an event checks', () => {
    const even = z.object({ n: z.int() }).check(z.refine(({ n }) => n % 2 === 0))
    const counters = decider('counters', { ...spec, events: { Added: even } })
      .evolve(evolve)
      .decide(decide)
    const { value } = partsOf(application('app', { deciders: [counters] })).topics[0]!
    expect([2, 3].map(n => value.safeParse({ type: 'Added', key: 'a', n }).success)).toEqual([true, false])
  })

  it.each([
    ['a name', () => declare('my seats', spec), /'my seats' is not a decider name/],
    ['an event without a name', () => declare('x', { ...spec, events: { 'it is': z.object({}) } }), /event name/],
    ['no events', () => declare('x', { ...spec, events: {} }), /x has no event/],
    ['no commands', () => declare('x', { ...spec, commands: {} }), /x has no command/],
    [
      'an event with a field of the key',
      () => declare('x', { ...spec, events: { Added: z.object({ key: z.string() }) } }),
      /the event 'Added' of x has a field 'key'/,
    ],
    [
      'a command with a type',
      () => declare('x', { ...spec, commands: { add: z.object({ type: z.string() }) } }),
      /the command 'add' of x has a field 'type'/,
    ],
    ['an event without its function', () => declare('x', spec).evolve({}), /x.evolve lacks .* event 'Added'/],
    [
      'a function of no event',
      () => declare('x', spec).evolve({ ...evolve, Gone: () => {} }),
      /'Gone', which is no event/,
    ],
    [
      'a command without its function',
      () =>
        decider('x', spec)
          .evolve(evolve)
          .decide({} as never),
      /command 'add'/,
    ],
    ['half a decider', () => application('a', { deciders: [declare('x', spec) as never] }), /not a whole one/],
    [
      'two things of one name',
      () =>
        application('a', {
          deciders: [decider('x', spec).evolve(evolve).decide(decide)],
          views: [projection('x', { key: z.string(), state: spec.state }).on({} as never, 'key', (() => {}) as never)],
        }),
      /two things are named 'x'/,
    ],
  ])('is refused with %s', (_, make, message) => {
    expect(make).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID', message: expect.stringMatching(message) }),
    )
  })

  it('is refused with functions that are not synchronous', () => {
    expect(() => declare('x', spec).evolve({ Added: async () => {} })).toThrow(
      expect.objectContaining({ code: 'HANDLER_ASYNC' }),
    )
    expect(() =>
      decider('x', spec)
        .evolve(evolve)
        .decide({ add: async () => [] } as never),
    ).toThrow(expect.objectContaining({ code: 'HANDLER_ASYNC' }))
  })
})
