// The loops by which a route folds a run of records: generated per route and layout of records, so that the call of the
// handler, and each access, is of one kind. A handler is called record by record; declared aggregates go from column to page
// without any accessor, where their fields are words. Both equal the fold of one record after the other.
// Names reach the generated text only through JSON.stringify.
import { type AnyRow, type RowView, RUN_ROWS_MAX, type ViewField, type ViewSlot } from '../core/index.ts'
import type { Aggregate } from './aggregate.ts'
import type { HandlerContext } from './handler-context.ts'
import type { Handler, Route } from './route.ts'
import type { SkippingCalls } from './skip/skipping-calls.ts'
import { TOUCHED } from './state/changes.ts'
import { ADD_SUPPORT, FLAGS, type Layout, type NamedSlot, placeIn, type Slot } from './state/layout.ts'
import { notOfType } from './state/nested.ts'
import type { RowPlaces, RunRows } from './state/row-places.ts'

/**
 * Folds what is left of a lent run's records before `to` into their rows; −1 when all are. Otherwise gives a row that is to be touched
 * before it changes, and is to be called again. (A call from the loop would be inlined, and leave less for the handler's own.)
 * `timeMs`: of records without an event time; `settled`: flags of rows that need not be touched.
 */
export type FoldRun = (run: RunRows, to: number, timeMs: number, settled: number) => number

export interface RunParts {
  readonly places: RowPlaces
  readonly draft: AnyRow
  readonly context: HandlerContext
  /** Takes what a handler returned that is not undefined. @throws HANDLER_ASYNC */
  checkResult(result: unknown): void
  /** Ends a call that has used more of its context than values. */
  endCall(row: number): void
  checkHeap(): void
  /** Of views that skip what fails. */
  readonly skipping: Pick<SkippingCalls, 'save' | 'failedInRun'> | undefined
}

interface Env extends RunParts {
  readonly lent: RowView
  readonly handler: Route['add']
  readonly maps: readonly (readonly number[])[]
  bad(record: number, row: number, path: string, expected: string, value: unknown): never
}

/** Makes the loop of a route over runs of one lender. @param handler its own, where the route has one for each variant */
export function runCode(route: Route, handler: Handler, lent: RowView, parts: RunParts): FoldRun {
  const { context, places } = parts
  const maps: number[][] = []
  const { aggregates } = route
  // A column at a time, a record that fails could not be taken back whole.
  const byColumn = parts.skipping === undefined && !keepsValues(route)
  const steps = aggregates && byColumn ? aggregateSteps(aggregates, lent.fields, places.layout.fields, maps) : undefined
  const bad = (record: number, row: number, path: string, expected: string, value: unknown): never => {
    context.info.position = lent.source.positions[record]!
    context.row = row
    throw notOfType(path, expected, value)
  }
  const env: Env = { ...parts, lent, handler, maps, bad }
  const loop = steps
    ? columnLoop(steps, columnsOf(aggregates!, lent.fields), places.layout)
    : handlerLoop(route, lent, parts)
  return factoryOf(route, handler, loop)(env)
}

type Factory = (env: Env) => FoldRun

/** Once per definition of a route, handler and text, so that a view that is opened again runs what is optimised already. */
const factories = new WeakMap<object, Map<string, Factory>>()
let made = 0

function factoryOf({ on, variants }: Route, handler: Handler, loop: string): Factory {
  // What `.on` made of aggregates or variants is another function each time a view is opened.
  const owner = variants !== undefined && [...variants.handlers.values()].includes(handler) ? handler : on
  const known = factories.get(owner) ?? new Map<string, Factory>()
  factories.set(owner, known)
  let factory = known.get(loop)
  // The number keeps the engine from taking two of the same text for one.
  factory ??= new Function(
    'env',
    `'use strict' // ${made++}
const { places, draft, context, handler, checkResult, endCall, checkHeap, skipping, lent, maps, bad } = env
const { pages, shift, mask, at } = places, { info } = context, { row, source } = lent, { positions, words: c } = source
return (run, to, timeMs, settled) => {
const { rows, records, found } = run
let k = run.next
if (k === found || records[k] >= to) return -1
${loop}
run.next = k
return -1 }`,
  ) as Factory
  known.set(loop, factory)
  return factory
}

function handlerLoop(route: Route, { fields }: RowView, { places: { layout }, skipping }: RunParts): string {
  const refs = layout.refs > 0
  const time = timeColumn(route, fields)
  const call = `result = handler(draft, row, context)
  if (result !== undefined) checkResult(result)`
  const guarded = `skipping.save(r)
  let result
  try { ${call} } catch (error) { skipping.failedInRun(error, r); continue }`
  return `
${needed(time)}
for (; k < found; k++) {
  const i = records[k], r = rows[k]
  if (i >= to) break
  const page = pages[r >>> shift], w = page.words, h = page.halves, b = (r & mask) * ${layout.words}
  ${TOUCH}
  source.at = i
  info.position = positions[i]
  ${time ? `info.timeMs = ${time.there ?? 'true'} ? ${time.value} : timeMs` : ''}
  context.row = r
  at.words = w
  at.halves = h
  at.base = b
  ${refs ? `at.refs = page.refs; at.refBase = (r & mask) * ${layout.refs}` : ''}
  ${skipping === undefined ? `const ${call}` : guarded}
  ${ADD_SUPPORT}
  ${refs ? 'checkHeap()' : ''}
  if (context.used) endCall(r)
}`
}

/** The event time, where records have one; others have their transaction's, which is set. */
function timeColumn({ time }: Route, fields: readonly ViewField[]): WordColumn | undefined {
  const column = time === undefined ? undefined : wordColumn(fields, time)
  return column?.kind === 'date' ? column : undefined
}

/** Statements after which a run has what a loop reads. */
const needed = (...columns: readonly (WordColumn | undefined)[]): string =>
  [...new Set(columns.flatMap(column => column?.columns ?? []))].map(column => `source.need(${column});`).join(' ')

/** The columns that aggregates read. */
const columnsOf = (
  aggregates: Readonly<Record<string, Aggregate>>,
  fields: readonly ViewField[],
): (WordColumn | undefined)[] =>
  Object.values(aggregates).flatMap(aggregate => [
    'field' in aggregate ? wordColumn(fields, aggregate.field) : undefined,
    'by' in aggregate ? wordColumn(fields, aggregate.by) : undefined,
  ])

/** Statements before a row changes whose halves begin at twice `b`. */
const TOUCH = `const f = h[(b << 1) + ${FLAGS}]; if ((f & ${TOUCHED}) === 0 && (f & settled) !== settled) { run.next = k; return r }`

const columnLoop = (
  steps: readonly string[],
  columns: readonly (WordColumn | undefined)[],
  { words }: Layout,
): string => `
${needed(...columns)}
for (; k < found; k++) {
  const i = records[k], r = rows[k]
  if (i >= to) break
  const page = pages[r >>> shift], w = page.words, h = page.halves, b = (r & mask) * ${words}
  ${TOUCH}
  ${ADD_SUPPORT}
  ${steps.map(step => `{ ${step} }`).join('\n  ')}
}`

/** A column of numbers, as text. */
interface WordColumn {
  readonly kind: string
  /** What has to be loaded of a run. */
  readonly columns: readonly number[]
  readonly values: readonly string[]
  readonly value: string
  /** Whether the record has a value; undefined where each has. */
  readonly there: string | undefined
}

function wordColumn(fields: readonly ViewField[], name: string): WordColumn | undefined {
  const slot = fields.find(field => field.name === name)?.slot
  if (slot?.kind === 'nullable') {
    const inner = ofWord(slot.inner)
    const there = `c[${slot.word * RUN_ROWS_MAX} + i] === 1`
    return inner && { ...inner, columns: [slot.column, ...inner.columns], there }
  }
  return slot && ofWord(slot)
}

function ofWord(slot: ViewSlot): WordColumn | undefined {
  if (slot.kind !== 'word') return undefined
  const { type, word, column } = slot
  const values = type.kind === 'enum' ? type.values : []
  return { kind: type.kind, columns: [column], values, value: `c[${word * RUN_ROWS_MAX} + i]`, there: undefined }
}

/** Whether some are the least or greatest of rows that may leave: their handlers keep all values, which columns do not. */
const keepsValues = ({ table, aggregates = {} }: Route): boolean =>
  table && Object.values(aggregates).some(({ aggregate }) => aggregate === 'min' || aggregate === 'max')

/** A statement for each aggregate; undefined where one of them is not of words alone. */
function aggregateSteps(
  aggregates: Readonly<Record<string, Aggregate>>,
  columns: readonly ViewField[],
  state: readonly NamedSlot[],
  maps: number[][],
): string[] | undefined {
  const steps = Object.entries(aggregates).map(([name, aggregate]) => {
    const slot = state.find(field => field.name === name)?.slot
    return slot && stepOf(aggregate, name, slot, columns, maps)
  })
  return steps.every(step => step !== undefined) ? steps : undefined
}

const when = (conditions: readonly (string | undefined)[], statement: string): string => {
  const all = conditions.filter(condition => condition !== undefined)
  return all.length > 0 ? `if (${all.join(' && ')}) { ${statement} }` : statement
}

function stepOf(
  aggregate: Aggregate,
  name: string,
  slot: Slot,
  columns: readonly ViewField[],
  maps: number[][],
): string | undefined {
  const column = 'field' in aggregate ? wordColumn(columns, aggregate.field) : undefined
  if ('field' in aggregate && !column) return undefined
  switch (aggregate.aggregate) {
    case 'count':
    case 'sum':
      if (slot.kind !== 'word' || slot.nullable) return undefined
      return when([column?.there], add(placeIn(slot), column?.value ?? '1', slot.type.kind, quote(name)))
    case 'countBy':
    case 'sumBy': {
      const by = wordColumn(columns, aggregate.by)
      const place = by && slot.kind === 'group' ? placesBy(slot.fields, by.values) : undefined
      if (!by || !place) return undefined
      const map = `maps[${maps.push(place.words as number[]) - 1}]`
      const path = `${quote(`${name}.`)} + ${JSON.stringify(by.values)}[${by.value}]`
      return when(
        [by.there, column?.there],
        `const k = ${place.half ? '(b << 1)' : 'b'} + ${map}[${by.value}]; ${add(place.half ? 'h[k]' : 'w[k]', column?.value ?? '1', place.kind, path)}`,
      )
    }
    default:
      return chosen(aggregate.aggregate, name, slot, column!)
  }
}

function add(place: string, value: string, kind: string, path: string): string {
  return `const v = ${place} + ${value}; ${check(kind, path)} ${place} = v`
}

/** Least, greatest and newest values. */
function chosen(
  which: 'min' | 'max' | 'last',
  name: string,
  slot: Slot,
  { kind, value, there }: WordColumn,
): string | undefined {
  if (slot.kind !== 'word' || !slot.nullable || slot.optional) return undefined
  const word = `w[b + ${slot.word}]`
  const store = `${kind === slot.type.kind ? '' : check(slot.type.kind, quote(name))} ${word} = v`
  if (which === 'last') return when([there], `const v = ${value}; ${store}`)
  const better = `v ${which === 'min' ? '<' : '>'} o`
  return when([there], `const v = ${value}, o = ${word}; if (o !== o || ${better}) { ${store} }`)
}

/** For each value of an enum the word that stands for it, where all are numbers of one kind. */
function placesBy(
  fields: readonly NamedSlot[],
  values: readonly string[],
): { readonly words: readonly number[]; readonly half: boolean; readonly kind: string } | undefined {
  const slots = values.map(value => fields.find(field => field.name === value)?.slot)
  const words = slots.map(slot => (slot?.kind === 'word' && !slot.nullable ? slot.word : -1))
  const first = slots[0]
  return first?.kind === 'word' && !words.includes(-1) ? { words, half: first.half, kind: first.type.kind } : undefined
}

const quote = (text: string): string => JSON.stringify(text)

/** The check that the accessors of a row make, of `v`. */
function check(kind: string, path: string): string {
  const bad = (condition: string, expected: string) => `if (${condition}) bad(i, r, ${path}, ${quote(expected)}, v);`
  switch (kind) {
    case 'int32':
      return bad('v !== (v | 0)', 'an int32')
    case 'int':
      return bad('!Number.isSafeInteger(v)', 'a safe integer')
    default:
      return bad('!Number.isFinite(v)', 'a finite number')
  }
}
