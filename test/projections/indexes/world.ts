// Views with random keys, fields and indexes, what is put into them, and what a range of their rows is, said without bytes: all rows,
// filtered and sorted by their values.
import { z } from 'zod'
import { type AnyRow, compileContract, type Log, type LogTopic, topic } from '../../../core/index.ts'
import { type Projection, projection, type RangeQuery, type View, type ViewRow } from '../../../projections/index.ts'
import type { Random } from '../../support/random.ts'

interface Kind {
  readonly schema: z.ZodType
  /** That of the state, which may begin with it. */
  readonly begun: z.ZodType
  /** Few, so that values are equal now and then. */
  readonly values: readonly unknown[]
}

const kind = <T>(schema: z.ZodType<T>, begun: z.ZodType, values: readonly T[]): Kind => ({ schema, begun, values })
/** The same letter composed and as two, an empty one, zeros, beginnings of each other, what UTF-16 and UTF-8 order differently. */
const TEXTS = ['', 'a', 'a\0', 'a\0b', 'ab', 'b', 'é', 'e\u0301', '\uffee', '😀', 'x'.repeat(60), `${'x'.repeat(60)}y`]
const INTEGERS = [0, 1, -1, 255, 256, -256, 65_536, -65_537, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, -(2 ** 53 - 1)]
const BIGINTS = [0n, 1n, -1n, 2n ** 53n, -(2n ** 53n), 2n ** 64n, -(2n ** 80n)]
const Color = z.enum(['red', 'green', 'blue'])

const KINDS = {
  text: kind(z.string(), z.string().default(''), TEXTS),
  int: kind(z.int(), z.int(), INTEGERS),
  int32: kind(z.int32(), z.int32(), [0, 1, -1, 300, -300, 2 ** 31 - 1]),
  float: kind(z.number(), z.number(), [0, 0.5, -0.5, 1e300, -1e-300, 5e-324, -1e300]),
  bigint: kind(z.bigint(), z.bigint(), BIGINTS),
  boolean: kind(z.boolean(), z.boolean(), [false, true]),
  date: kind(
    z.date(),
    z.date().default(() => new Date(0)),
    [0, -1, 1, 1e12, -1e12].map(ms => new Date(ms)),
  ),
  color: kind(Color, Color.default('red'), ['red', 'green', 'blue']),
} as const
type KindName = keyof typeof KINDS
const NAMES = Object.keys(KINDS) as KindName[]

interface Field {
  readonly name: string
  readonly kind: KindName
  readonly nullable: boolean
}

export interface IndexedView {
  readonly view: View & { readonly name: string }
  readonly keys: readonly Field[]
  readonly single: boolean
  readonly fields: readonly Field[]
  readonly indexes: readonly (readonly string[])[]
}

/** A view that holds what the last event of its key says. */
export interface RandomViews {
  readonly views: readonly IndexedView[]
  /** Appends one transaction. */
  change(events: number, only?: (key: AnyRow) => boolean): Promise<void>
  /** All rows as of now, the same of all views. */
  rows(view: IndexedView): readonly ViewRow[]
}

const schemaOf = (fields: readonly Field[], begun: boolean) =>
  z.object(
    Object.fromEntries(
      fields.map(({ name, kind, nullable }) => {
        const { schema, begun: starts } = KINDS[kind]
        return [name, nullable ? schema.nullable() : begun ? starts : schema]
      }),
    ),
  )

const fieldsOf = (random: Random, letter: string, count: number, nulls: number): Field[] =>
  Array.from({ length: count }, (_, n) => ({
    name: `${letter}${n}`,
    kind: random.pick(NAMES),
    nullable: random.next() < nulls,
  }))

/** @param most how many keys there may be */
export async function randomViews(log: Log, random: Random, most = 150): Promise<RandomViews> {
  const single = random.next() < 0.5
  const keys = fieldsOf(random, 'k', single ? 1 : 1 + random.int(3), 0)
  const fields = fieldsOf(random, 'f', 2 + random.int(3), 0.4)
  const value = schemaOf([...keys, ...fields], false).extend({ gone: z.boolean() })
  const events = topic('events', { key: 'k0', value } as never)
  const columns = keys.map(({ name }) => name)
  const by = single ? columns[0] : Object.fromEntries(columns.map(name => [name, name]))
  const key = single ? KINDS[keys[0]!.kind].schema : schemaOf(keys, false)
  const state = schemaOf(fields, true)
  const indexable = single ? fields : [...fields, ...keys]
  const indexes = Array.from({ length: 3 }, () => {
    const names = indexable.map(({ name }) => name).sort(() => random.next() - 0.5)
    return names.slice(0, 1 + random.int(3))
  }).filter((names, n, all) => all.findIndex(other => other.join() === names.join()) === n)
  const declare = (name: string) => projection(name, { key, state } as never) as unknown as Projection<string, never>
  const indexed = (view: unknown) =>
    indexes.reduce(
      (each, names) => (each.index as (...of: string[]) => typeof each)(...names),
      view as ReturnType<typeof declare>,
    )
  const put = (row: AnyRow, from: AnyRow) => {
    for (const { name } of fields) row[name] = from[name]
  }
  const first = indexed(declare('first')).on(
    events as never,
    by as never,
    ((row: AnyRow, event: AnyRow, ctx: { delete(): void }) => {
      if (event['gone']) ctx.delete()
      else put(row, event)
    }) as never,
  )
  const zero = state.parse(
    Object.fromEntries(fields.map(({ name, kind, nullable }) => [name, nullable ? null : zeroOf(kind)])),
  )
  const second = indexed(declare('second')).on(
    first as never,
    ((_: AnyRow, of: unknown) => of) as never,
    {
      add: (row: AnyRow, from: AnyRow) => put(row, from),
      remove: (row: AnyRow) => put(row, zero),
      update: (row: AnyRow, _: AnyRow, after: AnyRow) => put(row, after),
    } as never,
  )
  const stored = await log.topic(compileContract('events', 'topic', value, 'k0'))
  const rows = new Map<string, AnyRow>()
  const pool = Array.from({ length: most }, () => draw(random, keys))
  const of = (view: unknown): IndexedView => ({ view: view as IndexedView['view'], keys, single, fields, indexes })
  return {
    views: [of(first), of(second)],
    async change(count, only = () => true) {
      const free = pool.filter(only)
      await append(log, stored, free.length > 0 ? count : 0, () => {
        const key = random.pick(free)
        const event: AnyRow = { ...key, ...draw(random, fields), gone: random.next() < 0.15 }
        const id = textOf(key)
        if (event['gone']) rows.delete(id)
        else rows.set(id, event)
        return event
      })
    },
    rows: () =>
      [...rows.values()].map(row => ({
        key: single ? row['k0'] : pickOf(row, keys),
        value: pickOf(row, fields),
      })),
  }
}

const zeroOf = (kind: KindName): unknown =>
  ({ text: '', int: 0, int32: 0, float: 0, bigint: 0n, boolean: false, date: new Date(0), color: 'red' })[kind]

const draw = (random: Random, fields: readonly Field[]): AnyRow =>
  Object.fromEntries(
    fields.map(({ name, kind, nullable }) => [
      name,
      nullable && random.next() < 0.2 ? null : random.pick(KINDS[kind].values as readonly unknown[]),
    ]),
  )

const pickOf = (row: AnyRow, fields: readonly Field[]): AnyRow =>
  Object.fromEntries(fields.map(({ name }) => [name, row[name]]))

export const textOf = (value: unknown): string =>
  JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}n` : each))

async function append(log: Log, to: LogTopic, count: number, event: () => AnyRow): Promise<void> {
  const batch = log.batch()
  for (let n = 0; n < count; n++) batch.event(to, event())
  await batch.commit()
}

/** By code points for texts; null behind all else. */
function compare(a: unknown, b: unknown): number {
  if (a === b) return 0
  if (a === null || b === null) return a === null ? 1 : -1
  if (typeof a === 'string' && typeof b === 'string') return compareLists([...a].map(codeOf), [...b].map(codeOf))
  const [x, y] = [a, b].map(each => (each instanceof Date ? each.getTime() : each)) as [number, number]
  return x < y ? -1 : x > y ? 1 : 0
}

const codeOf = (letter: string): number => letter.codePointAt(0)!

function compareLists(a: readonly unknown[], b: readonly unknown[]): number {
  for (let n = 0; n < Math.min(a.length, b.length); n++) {
    const order = compare(a[n], b[n])
    if (order !== 0) return order
  }
  return a.length - b.length
}

const partsOf = ({ single, keys }: IndexedView, key: unknown): readonly unknown[] =>
  single ? [key] : keys.map(({ name }) => (key as AnyRow)[name])

/** The rows that a query asks for, in order. @param index fields of the index that serves it */
export function expected(
  view: IndexedView,
  all: readonly ViewRow[],
  { where, from, to, prefix, order }: RangeQuery,
  index: readonly string[],
): readonly ViewRow[] {
  const fieldOf = ({ key, value }: ViewRow, name: string) => (name in value ? value[name] : (key as AnyRow)[name])
  const entry = (row: ViewRow) => [...index.map(name => fieldOf(row, name)), ...partsOf(view, row.key)]
  const sign = order === 'desc' ? -1 : 1
  return all
    .filter(row => Object.entries(where ?? {}).every(([name, condition]) => meets(fieldOf(row, name), condition)))
    .filter(({ key }) => from === undefined || compareLists(partsOf(view, key), partsOf(view, from)) >= 0)
    .filter(({ key }) => to === undefined || compareLists(partsOf(view, key), partsOf(view, to)) <= 0)
    .filter(({ key }) => prefix === undefined || begins(key, prefix))
    .sort((a, b) => compareLists(entry(a), entry(b)) * sign)
}

const begins = (key: unknown, prefix: unknown): boolean =>
  typeof prefix === 'string'
    ? (key as string).startsWith(prefix)
    : Object.entries(prefix as AnyRow).every(([name, value]) => compare((key as AnyRow)[name], value) === 0)

function meets(value: unknown, condition: unknown): boolean {
  if (typeof condition !== 'object' || condition === null || condition instanceof Date)
    return compare(value, condition) === 0
  const { gte, gt, lte, lt } = condition as Readonly<Record<string, unknown>>
  if (value === null) return false
  return (
    (gte === undefined || compare(value, gte) >= 0) &&
    (gt === undefined || compare(value, gt) > 0) &&
    (lte === undefined || compare(value, lte) <= 0) &&
    (lt === undefined || compare(value, lt) < 0)
  )
}

/** A query, and the fields of the index that serves it. */
export function randomQuery(
  random: Random,
  { keys, single, fields, indexes }: IndexedView,
): { readonly query: RangeQuery; readonly index: readonly string[] } {
  const order = random.pick(['', 'asc', 'desc'] as const)
  const base: RangeQuery = order === '' ? {} : { order }
  const keyOf = () => {
    const key = draw(random, keys)
    return single ? key['k0'] : key
  }
  const all = [...fields, ...keys]
  const aValueOf = (name: string) =>
    draw(
      random,
      all.map(field => ({ ...field, nullable: false })),
    )[name]
  if (random.next() < 0.4) {
    const text = single && ['text', 'color'].includes(keys[0]!.kind)
    if (random.next() < 0.3 && text)
      return { query: { ...base, prefix: random.pick(['', 'a', 'x', 'r', '\0']) }, index: [] }
    if (random.next() < 0.3 && !single)
      return {
        query: { ...base, prefix: pickOf(keyOf() as AnyRow, keys.slice(0, 1 + random.int(keys.length))) },
        index: [],
      }
    const from = random.next() < 0.7 ? { from: keyOf() } : {}
    return { query: { ...base, ...from, ...(random.next() < 0.7 ? { to: keyOf() } : {}) }, index: [] }
  }
  const chosen = random.pick(indexes)
  const asked = chosen.slice(0, 1 + random.int(chosen.length))
  const where: AnyRow = {}
  for (const [n, name] of asked.entries()) {
    const nullable = all.find(field => field.name === name)!.nullable
    if (n < asked.length - 1 || random.next() < 0.4)
      where[name] = nullable && random.next() < 0.3 ? null : aValueOf(name)
    else
      where[name] = Object.fromEntries(
        ['gte', 'gt', 'lte', 'lt'].filter(() => random.next() < 0.4).map(bound => [bound, aValueOf(name)]),
      )
  }
  const ranged =
    typeof where[asked.at(-1)!] === 'object' && where[asked.at(-1)!] !== null && !(where[asked.at(-1)!] instanceof Date)
  const serves = (names: readonly string[]) => {
    const leading = names.slice(0, asked.length)
    return (
      leading.length === asked.length &&
      asked.every(name => leading.includes(name)) &&
      (!ranged || leading.at(-1) === asked.at(-1))
    )
  }
  return { query: { ...base, where }, index: indexes.find(serves)! }
}
