// Lineages as the wire carries them, with the types of rows and records.
import type { AnyRow, Position } from '../../core/index.ts'
import type { LineageEntry, LineageStepWire, LineageWire, RecordTypesWire } from '../lineage.ts'
import type { Parameters } from './calls.ts'
import type { LineageQuery } from './client.ts'
import { invalid } from './client-error.ts'
import { isSegment, type Keys } from './keys.ts'
import { atText, type Reader, rowOf, typesOf } from './reader.ts'
import { type Reviver, reviverOf } from './revive.ts'

/** @param path of the view */
export async function readLineage(
  { calls }: Reader,
  path: string,
  keys: Keys,
  key: unknown,
  query: LineageQuery<AnyRow>,
): Promise<readonly LineageEntry<AnyRow>[]> {
  const text = await keys.text(key, query.signal)
  if (!isSegment(text)) throw invalid('the key cannot be a part of a URL', 'read lineages by `mainstem lineage`')
  const { body, headers } = await calls.json({
    path: `${path}/rows/${text}/lineage`,
    query: lineageParameters(query),
    safe: true,
    signal: query.signal,
  })
  const revive = reviverOf(typesOf(headers))
  const { steps, recordTypes = {} } = body as LineageWire
  return steps.map(step => entryOf(step, revive, recordTypes[step.topic]))
}

const lineageParameters = ({ at, limit, before, field }: LineageQuery<AnyRow>): Parameters => ({
  at: at === undefined ? undefined : atText(at),
  limit,
  before,
  field,
})

function entryOf(step: LineageStepWire, revive: Reviver, types: RecordTypesWire | undefined): LineageEntry<AnyRow> {
  const { record, op } = step
  const recorded = (json: unknown) => rowOf(reviverOf(typesOfRecord(types, json)), json ?? null) ?? null
  return {
    position: step.position as Position,
    topic: step.topic,
    op,
    record:
      op === 'event'
        ? { before: null, after: recorded(record.value) }
        : { before: recorded(record.before), after: recorded(record.after) },
    appendTime: new Date(step.appendTime),
    source: markOf(step.source),
    sequence: step.source?.sequence ?? null,
    before: rowOf(revive, step.before) ?? null,
    after: rowOf(revive, step.after) ?? null,
  }
}

/** Of a union: those of the record's variant. */
function typesOfRecord(
  types: RecordTypesWire | undefined,
  json: unknown,
): Readonly<Record<string, string>> | undefined {
  if (types === undefined || typeof types['variants'] !== 'object') return types as Readonly<Record<string, string>>
  const { by, variants } = types as Extract<RecordTypesWire, { readonly by: string; readonly variants: object }>
  return variants[String((json as AnyRow | null)?.[by])]
}

function markOf(source: LineageStepWire['source']): LineageEntry<AnyRow>['source'] {
  if (source === null) return undefined
  const { transaction, commitTime } = source
  return {
    source: source.source,
    position: source.position,
    ...(transaction === null ? {} : { transaction }),
    ...(commitTime === null ? {} : { commitTimeUs: microsecondsOf(commitTime) }),
    ...(source.snapshot ? { snapshot: true } : {}),
  }
}

/** Of ISO 8601 with six digits of a second. */
const microsecondsOf = (iso: string): number => Date.parse(`${iso.slice(0, 23)}Z`) * 1000 + Number(iso.slice(23, 26))
