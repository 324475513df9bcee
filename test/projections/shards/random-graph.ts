// Random projections over an event topic, two tables and each other. Their rows hold a digest of everything that was folded into
// them and in which order, so that two engines have the same rows only if they have folded the same in the same order.
import { z } from 'zod'
import { type AnyRow, compileContract, contractOfTable, type Log, type LogTopic, topic } from '../../../core/index.ts'
import { type Context, count, projection, sum, type View } from '../../../projections/index.ts'
import type { Random } from '../../support/random.ts'
import { tableSource } from '../../support/table-source.ts'

const source = tableSource()
const tables = ['left', 'right'].map(name =>
  source.table(name, { key: 'id', row: z.object({ id: z.int(), to: z.int(), name: z.string(), amount: z.number() }) }),
)
const events = topic('happened', {
  key: 'id',
  value: z.object({ id: z.int(), to: z.int(), name: z.string(), amount: z.number() }),
})

const KEYS = 9
/** Of no view. */
const NO_KEY = {}
const keyKinds = [
  { schema: z.int(), of: (n: number): unknown => n, column: 'to' },
  { schema: z.string(), of: (n: number): unknown => `key ${n}${'é'.repeat(n % 3)}`, column: 'name' },
  {
    schema: z.object({ a: z.int(), b: z.string() }),
    of: (n: number): unknown => ({ a: n >> 1, b: `${n}` }),
    column: '',
  },
] as const

const state = z.object({
  trace: z.int32(),
  amount: z.number(),
  name: z.string().nullable(),
  seen: z.map(z.string(), z.int()),
  list: z.array(z.int()),
})
type State = z.output<typeof state>

const digest = (value: unknown): number => {
  let hash = 7
  const text = JSON.stringify(value, (_, v: unknown) => (v instanceof Map ? [...v] : v))
  for (let n = 0; n < text.length; n++) hash = (Math.imul(hash, 31) + text.charCodeAt(n)) | 0
  return hash
}

/** Of views that skip: calls for about so many records fail, after they have written. */
const FAILS_ONE_IN = 61

/** @param fails where some calls are to be skipped */
function fold(step: string, fails = false) {
  return (s: State, row: AnyRow, ctx: Context): void => {
    const seen = digest([step, row, ctx.position, ctx.timeMs > 0])
    s.trace = (Math.imul(s.trace, 31) + seen) | 0
    s.amount = s.amount / 3 + (seen % 1_000) / 7
    s.name = `${step} ${seen % 10}`
    s.seen.set(`${step}${seen % 4}`, seen)
    s.list = [...s.list.slice(-3), seen]
    if (seen % 97 === 0) ctx.delete()
    if (fails && seen % FAILS_ONE_IN === 0) throw new RangeError(`${seen} is not to be folded`)
  }
}

export interface GraphView {
  readonly view: View
  readonly keys: readonly unknown[]
}

/** Between four and eight views, of which about half fold others. */
export function randomGraph(random: Random): readonly GraphView[] {
  const views: GraphView[] = []
  const amount = 4 + random.int(5)
  for (let n = 0; n < amount; n++) {
    const kind = random.pick(keyKinds)
    const keys = Array.from({ length: KEYS }, (_, key) => kind.of(key))
    const skips = n === 0 || random.next() < 0.5
    const skipping = skips ? { onError: 'skip', deadLettersMax: 1_000_000 } : {}
    let view = projection(`view${n}`, { key: kind.schema, state: state, ...skipping } as never) as unknown as {
      on(...args: unknown[]): typeof view
    }
    const by = (shift: number) => {
      const many = random.next() < 0.3
      return (row: AnyRow) => {
        const n = digest([shift, row['name'], row['amount'], row['trace']]) >>> 1
        if (n % 7 === 0) return null
        if (skips && n % 101 === 1) throw new RangeError('it has no key')
        if (skips && many && n % 11 === 1) return [kind.of(n % KEYS), NO_KEY, kind.of((n >> 4) % KEYS)]
        return many && n % 3 > 0 ? [kind.of(n % KEYS), kind.of((n >> 4) % KEYS)] : kind.of(n % KEYS)
      }
    }
    // An event, so that what tables add need not be what they remove.
    view = view.on(events, kind.column !== '' && random.next() < 0.5 ? kind.column : by(1), fold('event', skips))
    for (const input of [...tables, ...views.map(each => each.view)]) {
      if (random.next() < 0.55) continue
      const update =
        random.next() < 0.5
          ? {
              update: (s: State, before: AnyRow, after: AnyRow, ctx: Context) =>
                fold('update', skips)(s, { before, after }, ctx),
            }
          : {}
      view = view.on(input, by(2), { add: fold('add', skips), remove: fold('remove', skips), ...update })
    }
    views.push({ view: view as unknown as View, keys })
  }
  const declared = projection('declared', {
    key: z.int(),
    state: z.object({ rows: z.int(), cents: z.number() }),
  } as never).on(events as never, 'to' as never, { rows: count(), cents: sum('amount') } as never)
  views.push({ view: declared as unknown as View, keys: Array.from({ length: KEYS }, (_, key) => key) })
  return views
}

/** Appends random transactions to the topics of the graphs. */
export class RandomInput {
  readonly #log: Log
  readonly #random: Random
  readonly #topics: LogTopic[] = []
  readonly #rows: Map<number, AnyRow>[] = [new Map(), new Map()]
  #next = 0

  constructor(log: Log, random: Random) {
    this.#log = log
    this.#random = random
  }

  async open(): Promise<void> {
    for (const table of tables) this.#topics.push(await this.#log.topic(contractOfTable(table)))
    this.#topics.push(await this.#log.topic(compileContract(events.name, 'topic', events.value, 'id')))
  }

  #row(id: number): AnyRow {
    const to = this.#random.int(KEYS)
    const name = keyKinds[1].of(this.#random.int(KEYS))
    return { id, to, name, amount: this.#random.int(10_000) / 8 }
  }

  /** @param records of the transaction */
  async transaction(records: number): Promise<void> {
    const random = this.#random
    const batch = this.#log.batch()
    for (let n = 0; n < records; n++) {
      const which = random.int(3)
      const topic = this.#topics[which]!
      if (which === 2) {
        batch.event(topic, this.#row(this.#next++))
        continue
      }
      const rows = this.#rows[which]!
      const id = random.int(30)
      const before = rows.get(id)
      const after = this.#row(id)
      if (before && random.next() < 0.3) {
        rows.delete(id)
        batch.delete(topic, before)
        continue
      }
      rows.set(id, after)
      if (before) batch.update(topic, before, after)
      else batch.insert(topic, after)
    }
    await batch.commit()
  }
}
