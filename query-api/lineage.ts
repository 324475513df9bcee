// Lineage as the wire carries it, and as clients in this process get it.
import { type AnyRow, fail, type LogTopic, type Position, type RecordOp, type SourceMark } from '../core/index.ts'
import type { Lineage, LineageStep } from '../projections/index.ts'
import { copyValue, wireTypes } from './json-writer.ts'
import { keyJson, type LogRecordWire, markJson, writerOf } from './log-page.ts'
import type { ServedView } from './reads.ts'

/** A record that went to a row, and the row before and after it. */
export interface LineageEntry<V> {
  readonly position: Position
  readonly topic: string
  readonly op: RecordOp
  /** The row before (update, delete) and after (insert, update), or the event as `after`. */
  readonly record: { readonly before: AnyRow | null; readonly after: AnyRow | null }
  readonly appendTime: Date
  /** The source's own position (an LSN, a GTID), transaction and commit time; undefined where the application appended it. */
  readonly source: SourceMark | undefined
  /** Its place in its transaction, from 1; null where history was removed, and over HTTP of what the application appended. */
  readonly sequence: number | null
  /** Null where there was no row. */
  readonly before: V | null
  readonly after: V | null
}

export const lineageEntry = ({ live }: ServedView, step: LineageStep): LineageEntry<AnyRow> => {
  const copy = (row: AnyRow | null) => (row === null ? null : (copyValue(live.value, row) as AnyRow))
  return {
    position: String(step.position) as Position,
    topic: step.topic.name,
    op: step.op,
    record: step.record,
    appendTime: new Date(step.appendTimeMs),
    source: step.mark,
    sequence: step.sequence,
    before: copy(step.before),
    after: copy(step.after),
  }
}

/** A step as JSON carries it. */
export interface LineageStepWire {
  readonly position: string
  readonly topic: string
  readonly op: RecordOp
  /** Its key, and what it says: an event's `value`, or a row's `before` and `after`. */
  readonly record: Pick<LogRecordWire, 'key' | 'value' | 'before' | 'after'>
  readonly appendTime: string
  readonly source: LogRecordWire['source']
  readonly before: Readonly<Record<string, unknown>> | null
  readonly after: Readonly<Record<string, unknown>> | null
}

export interface LineageWire {
  readonly key: unknown
  /** Newest first. */
  readonly steps: readonly LineageStepWire[]
  /** `before` of the next page; null where there are no older steps. */
  readonly next: string | null
  readonly position: string
  readonly ageMs: null
  readonly final: boolean
  /** By topic: what the header `mainstem-types` would say of its records. Only of those that need it. */
  readonly recordTypes?: Readonly<Record<string, RecordTypesWire>>
}

/** Of a topic whose contract is a union: by the field that tells variants apart, and what is in it. */
export type RecordTypesWire =
  | Readonly<Record<string, string>>
  | { readonly by: string; readonly variants: Readonly<Record<string, Readonly<Record<string, string>>>> }

export function lineageJson(served: ServedView, key: unknown, { steps, more, position, final }: Lineage): string {
  const next = more ? `"${steps.at(-1)?.position ?? position}"` : 'null'
  const each = steps.map(step => stepJson(served, step)).join(',')
  const types = recordTypes(new Set(steps.map(step => step.topic)))
  const last = types === undefined ? '' : `,"recordTypes":${JSON.stringify(types)}`
  return `{"key":${served.writeKey(key)},"steps":[${each}],"next":${next},"position":"${position}","ageMs":null,"final":${final}${last}}`
}

function recordTypes(topics: ReadonlySet<LogTopic>): Readonly<Record<string, RecordTypesWire>> | undefined {
  const types = [...topics].flatMap(({ name, contract: { type } }): [string, RecordTypesWire][] => {
    if (type.kind === 'object') {
      const paths = wireTypes(type)
      return Object.keys(paths).length > 0 ? [[name, paths]] : []
    }
    const variants = type.variants.map(each => [each.name, wireTypes(each.type)] as const)
    if (variants.every(([, paths]) => Object.keys(paths).length === 0)) return []
    return [[name, { by: type.discriminator, variants: Object.fromEntries(variants) }]]
  })
  return types.length > 0 ? Object.fromEntries(types) : undefined
}

function stepJson({ writeValue }: ServedView, step: LineageStep): string {
  const { topic, op, record, mark, sequence } = step
  const write = writerOf(topic)
  const row = (value: AnyRow | null) => (value === null ? 'null' : write(value))
  const state = (value: AnyRow | null) => (value === null ? 'null' : writeValue(value))
  const key = keyJson(topic, record.after ?? record.before)
  const said =
    op === 'event' ? `"value":${row(record.after)}` : `"before":${row(record.before)},"after":${row(record.after)}`
  const head = `{"position":"${step.position}","topic":${JSON.stringify(topic.name)},"op":"${op}","record":{"key":${key},${said}}`
  const times = `"appendTime":"${new Date(step.appendTimeMs).toISOString()}","source":${markJson(mark, sequence)}`
  return `${head},${times},"before":${state(step.before)},"after":${state(step.after)}}`
}

/** @throws REQUEST_INVALID where the view has no such field */
export function checkField({ live }: ServedView, field: string): void {
  if (live.value.fields.some(({ name }) => name === field)) return
  throw fail('REQUEST_INVALID', `view '${live.name}' has no field '${field.slice(0, 100)}'`, {
    hint: `it has ${live.value.fields.map(({ name }) => name).join(', ')}`,
  })
}
