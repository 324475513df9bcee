// What happened to a source that its changes do not show, for whoever reads the log later: at its place among them, in a topic
// of which nothing is removed.
import { z } from 'zod'
import { type AnyRow, type Contract, compileContract } from '../contract/index.ts'
import { type Batch, type LogTopic, SOURCE_EVENTS_TOPIC } from '../log/index.ts'

const column = z.object({
  name: z.string(),
  /** As the database writes it: `numeric(12,2)`. */
  type: z.string(),
  /** Tells a column that was renamed from one that was dropped while another was added; null in logs from before MariaDB's and MySQL's had one. */
  number: z.int().nullable(),
})

const schema = z.object({
  source: z.string(),
  /**
   * schema: the columns of a table, when it was first read · schema-changed: they are others from here on · log-released: the server was
   * told to forget what had not been read, since it kept too much of it; what came after `position` is lost
   */
  event: z.enum(['schema', 'schema-changed', 'log-released']),
  /** Of the source: an LSN, a GTID. */
  position: z.string(),
  /** The contract's name. */
  table: z.string().nullable(),
  before: z.array(column).nullable(),
  after: z.array(column).nullable(),
  detail: z.string().nullable(),
})

export type SourceEventRecord = z.output<typeof schema>
export type SchemaColumn = z.output<typeof column>

export const sourceEventsContract = (): Contract => compileContract(SOURCE_EVENTS_TOPIC, 'topic', schema, 'source')

export const recordSourceEvent = (
  batch: Batch,
  topic: LogTopic,
  event: Pick<SourceEventRecord, 'source' | 'event' | 'position'> & Partial<SourceEventRecord>,
): void => batch.event(topic, { table: null, before: null, after: null, detail: null, ...event })

/** How the columns of a table differ. */
export interface SchemaChange {
  readonly added: readonly string[]
  readonly dropped: readonly string[]
  readonly renamed: readonly { readonly from: string; readonly to: string }[]
  /** Columns of another type. */
  readonly altered: readonly { readonly name: string; readonly from: string; readonly to: string }[]
}

/** Undefined where nothing differs. */
export function schemaChange(
  before: readonly SchemaColumn[],
  after: readonly SchemaColumn[],
): SchemaChange | undefined {
  const old = new Map(before.map(column => [column.name, column]))
  const now = new Map(after.map(column => [column.name, column]))
  const came = after.filter(({ name }) => !old.has(name))
  const gone = before.filter(({ name }) => !now.has(name))
  const sameAs = ({ number }: SchemaColumn) => came.find(each => number !== null && each.number === number)
  const renamed = gone.flatMap(column => {
    const as = sameAs(column)
    return as ? [{ from: column, to: as }] : []
  })
  const altered = [...after.flatMap(column => [{ from: old.get(column.name), to: column }]), ...renamed].flatMap(
    ({ from, to }) => (from && from.type !== to.type ? [{ name: to.name, from: from.type, to: to.type }] : []),
  )
  const change = {
    added: came.filter(column => !renamed.some(({ to }) => to === column)).map(({ name }) => name),
    dropped: gone.filter(column => !renamed.some(({ from }) => from === column)).map(({ name }) => name),
    renamed: renamed.map(({ from, to }) => ({ from: from.name, to: to.name })),
    altered,
  }
  return Object.values(change).some(list => list.length > 0) ? change : undefined
}

/** Columns of a table as a record says they are from here on; undefined where it says something else, or is of another source. */
export function readSchema(
  source: string,
  value: AnyRow,
): { readonly table: string; readonly columns: readonly SchemaColumn[] } | undefined {
  const { source: of, table, after } = schema.parse(value)
  return of === source && table !== null && after ? { table, columns: after } : undefined
}
