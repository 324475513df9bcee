// The table of an outbox as the catalog has it: whether its columns reach the events of the contract, and what is read of it.
import type { z } from 'zod'
import { type CapturedTopic, fail, type MainstemError } from '../../core/index.ts'
import { doesNotFit, type NamedColumn, type TypeProblem } from './contract-columns.ts'
import { didYouMean } from './did-you-mean.ts'
import { columnsOfOutbox, type OutboxOrigin, OutboxReader } from './events.ts'
import type { ColumnReader } from './rows.ts'

/** An outbox as an application declares it. */
export interface DeclaredOutbox {
  readonly captured: CapturedTopic
  readonly origin: OutboxOrigin
}

export const outboxesOf = (topics: readonly CapturedTopic[]): readonly DeclaredOutbox[] =>
  topics.flatMap(captured => {
    const { origin } = captured.declared
    return origin.kind === 'outbox' ? [{ captured, origin }] : []
  })

interface OutboxType {
  readonly name: string
  readonly class: string
}

/** What a database knows of types. */
export interface OutboxTypes<T> {
  readonly checkType: (type: T, schema: z.ZodType) => TypeProblem | undefined
  readonly compileColumn: (name: string, type: T, schema: z.ZodType) => ColumnReader
}

/**
 * @param columns those whose inserted values come with the changes
 * @returns the reader of its events, or what stands in the way
 */
export function checkOutbox<T extends OutboxType>(
  { captured, origin }: DeclaredOutbox,
  columns: readonly NamedColumn<T>[],
  { checkType, compileColumn }: OutboxTypes<T>,
): { readonly reader: OutboxReader } | { readonly problems: readonly MainstemError[] } {
  const { name } = captured.topic
  const problems: MainstemError[] = []
  const typeOf = (column: string) => columns.find(each => each.name === column)?.type
  const isColumn = (column: string): boolean => typeOf(column) !== undefined
  const seen = new Set<string>()
  for (const { variant, field, column } of columnsOfOutbox(captured, origin, isColumn)) {
    const type = typeOf(column)
    if (!type) {
      if (!seen.has(column)) problems.push(missingColumn(name, column, columns))
      seen.add(column)
      continue
    }
    if (field === captured.contract.discriminator) continue
    const schema = captured.contract.variants.find(each => each.name === variant)?.schema.shape[field]
    const problem = schema && checkType(type, schema)
    if (problem) problems.push(doesNotFit(name, { name: column, type }, problem))
  }
  if (origin.payload !== undefined) problems.push(...checkPayload(name, origin.payload, columns))
  if (problems.length > 0) return { problems }
  const readerOf = (column: string, schema: z.ZodType) => compileColumn(column, typeOf(column)!, schema)
  return { reader: new OutboxReader(captured, origin, isColumn, readerOf) }
}

function checkPayload(topic: string, payload: string, columns: readonly NamedColumn<OutboxType>[]): MainstemError[] {
  const type = columns.find(({ name }) => name === payload)?.type
  if (!type) return [missingColumn(topic, payload, columns)]
  if (type.class === 'json' || type.class === 'text') return []
  return [
    fail('CONTRACT_TYPE_MISMATCH', `${topic}.${payload} is no JSON`, {
      detail: `the column is ${type.name}`,
      hint: 'a payload is JSON, or text',
    }),
  ]
}

function missingColumn(topic: string, column: string, columns: readonly { readonly name: string }[]): MainstemError {
  const names = columns.map(({ name }) => name)
  const near = didYouMean(column, names)
  return fail('CONTRACT_COLUMN_MISSING', `${topic} has no column '${column}'`, {
    detail: `it has ${names.join(', ')}`,
    hint: near
      ? `did you mean ${near}?`
      : "name the column of the field (columns: { field: 'column' }), or that of the others' JSON (payload: 'column')",
  })
}

/** Where the columns that are read stand in a row of the stream. @throws CONTRACT_COLUMN_MISSING: the table was altered */
export function placesOf(
  { captured, reader }: { readonly captured: CapturedTopic; readonly reader: OutboxReader },
  names: readonly string[],
): ReadonlyMap<string, number> {
  const places = new Map(names.map((name, place) => [name, place]))
  const gone = reader.columns.find(name => !places.has(name))
  if (gone === undefined) return places
  throw fail('CONTRACT_COLUMN_MISSING', `${captured.topic.name} has no column '${gone}' any more`, {
    detail: `it has ${names.join(', ')}`,
    hint: 'bring the contract up to date, or undo the change of the table',
  })
}

const NONE: ReadonlySet<string> = new Set()

/** Of the outboxes that came later those for which `isBefore` holds; this is asked once for a transaction. */
export function earlyTopics<P>(begins: ReadonlyMap<string, P>, isBefore: (begin: P) => boolean): ReadonlySet<string> {
  if (begins.size === 0) return NONE
  return new Set([...begins].flatMap(([topic, begin]) => (isBefore(begin) ? [topic] : [])))
}
