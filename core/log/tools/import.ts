// Reads what `export.ts` wrote, batch by batch, and fills a log with it. A batch is appended when its last line has been read:
// whole or not at all. A line that is not right ends the reading, and is named.
import { z } from 'zod'
import { type AnyRow, createRowCodec, type ObjectType, type RowCodec } from '../../contract/index.ts'
import { fail, isMainstemError, type MainstemError, textOf } from '../../errors.ts'
import { type FilledLog, openFilledLog } from '../embedded-log.ts'
import { type FileSystem, nodeFileSystem } from '../file-system.ts'
import { sameFields } from '../layout.ts'
import type { Appended, LogTopic, ParkedRow, RecordOp, SourceMark } from '../log.ts'
import { parkedSchema } from '../records.ts'
import { markSchema } from '../sidecar.ts'
import { parseTopics } from '../topics.ts'
import { type StoredTopic, versionOf } from '../versions.ts'
import { fromExact } from './exact.ts'
import { EXPORT_FORMAT } from './export.ts'

export interface ImportedRecord {
  /** Line of the text, from 1. */
  readonly line: number
  readonly topic: string
  readonly layout: number
  /** Of that layout. */
  readonly type: ObjectType
  readonly op: RecordOp
  readonly before: AnyRow | null
  /** The row after, or the event. */
  readonly after: AnyRow | null
  readonly parked: ParkedRow | null
}

export interface ImportedBatch {
  /** Its last line. */
  readonly line: number
  readonly records: readonly ImportedRecord[]
  readonly mark: SourceMark | undefined
  readonly appendTimeMs: number
}

const headSchema = z.object({ mainstem: z.literal('log-export'), format: z.int(), topics: z.unknown() })
const endSchema = z.strictObject({ mainstem: z.literal('log-export-end'), records: z.int(), batches: z.int() })
const stampSchema = {
  position: z.string(),
  appendTime: z.iso.datetime(),
  source: markSchema.optional(),
  last: z.literal(true).optional(),
}
const of = { ...stampSchema, topic: z.string(), layout: z.int() }
const row = z.record(z.string(), z.unknown())
const lineSchema = z.discriminatedUnion('op', [
  z.strictObject({ ...stampSchema, op: z.literal('mark') }),
  z.strictObject({ ...of, op: z.literal('event'), value: row }),
  z.strictObject({ ...of, op: z.literal('insert'), after: row }),
  z.strictObject({ ...of, op: z.literal('update'), before: row, after: row }),
  z.strictObject({ ...of, op: z.literal('delete'), before: row }),
  z.strictObject({ ...of, op: z.literal('parked'), parked: parkedSchema }),
])
type Line = z.output<typeof lineSchema>

const bad = (line: number, what: string, detail?: string, hint?: string): MainstemError =>
  fail('REQUEST_INVALID', `line ${line} of the import ${what}`, {
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
    data: { line },
  })

interface KnownLayout {
  readonly topic: string
  readonly codec: RowCodec
}

/** An export as it is read. */
export class ImportReader {
  readonly topics: readonly StoredTopic[]
  readonly #lines: AsyncIterator<string>
  readonly #layouts = new Map<number, KnownLayout>()
  #line = 1

  private constructor(topics: readonly StoredTopic[], lines: AsyncIterator<string>) {
    this.topics = topics
    this.#lines = lines
    for (const { name, layouts } of topics)
      for (const { id, fields } of layouts)
        this.#layouts.set(id, { topic: name, codec: createRowCodec({ kind: 'object', fields }) })
  }

  /** Reads the head. @throws REQUEST_INVALID, LOG_FORMAT_NEWER */
  static async open(lines: AsyncIterable<string>): Promise<ImportReader> {
    const iterator = lines[Symbol.asyncIterator]()
    const first = await iterator.next()
    const head = headSchema.safeParse(parsed(first.done ? '' : first.value, 1))
    if (!head.success)
      throw bad(
        1,
        'is not the head of an export',
        'it does not say {"mainstem":"log-export", …}',
        'give a file that `mainstem log export` wrote',
      )
    if (head.data.format > EXPORT_FORMAT)
      throw fail('LOG_FORMAT_NEWER', 'the export was written by a newer version', {
        detail: `its format is ${head.data.format}`,
      })
    return new ImportReader(parseTopics(head.data.topics, 'the export'), iterator)
  }

  /** Whole batches. @throws REQUEST_INVALID naming the line, also where the end is missing */
  async *batches(): AsyncGenerator<ImportedBatch> {
    let records: ImportedRecord[] = []
    let count = 0
    for (let next = await this.#lines.next(); !next.done; next = await this.#lines.next()) {
      const line = ++this.#line
      if (next.value.trim() === '') continue
      const json = parsed(next.value, line)
      const end = endSchema.safeParse(json)
      if (end.success) return this.#checkEnd(end.data.records, count, records.length)
      const read = lineSchema.safeParse(json)
      if (!read.success) throw bad(line, 'is not a record of an export', issueText(read.error))
      if (read.data.op !== 'mark') records.push(this.#record(read.data, line))
      if (!read.data.last) continue
      count += records.length
      yield { line, records, mark: markOf(read.data.source), appendTimeMs: Date.parse(read.data.appendTime) }
      records = []
    }
    throw bad(
      this.#line + 1,
      'is missing',
      'the export ends early: its last line says how many records it has',
      'export again',
    )
  }

  #checkEnd(said: number, count: number, left: number): void {
    if (left > 0) throw bad(this.#line, 'ends the export inside of a batch')
    if (said !== count) throw bad(this.#line, `says ${said} records`, `there are ${count}`, 'export again')
  }

  #record(line: Exclude<Line, { op: 'mark' }>, at: number): ImportedRecord {
    const layout = this.#layouts.get(line.layout)
    if (layout?.topic !== line.topic)
      throw bad(at, `names layout ${line.layout} of ${line.topic}`, 'the head has no such layout')
    const { type } = layout.codec
    const value = (json: unknown) => {
      try {
        return fromExact(type, json) as AnyRow
      } catch (error) {
        throw refused(at, error)
      }
    }
    return {
      line: at,
      topic: line.topic,
      layout: line.layout,
      type,
      op: line.op,
      before: 'before' in line ? value(line.before) : null,
      after: 'after' in line ? value(line.after) : 'value' in line ? value(line.value) : null,
      parked: 'parked' in line ? line.parked : null,
    }
  }
}

function parsed(text: string, line: number): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw bad(line, 'is not JSON', textOf(error))
  }
}

const issueText = (error: z.ZodError): string => {
  const [issue] = error.issues
  return issue ? `${issue.path.join('.')}: ${issue.message}` : 'it has another form'
}

/** Without members that are undefined: marks are compared member by member. */
const markOf = (mark: z.output<typeof markSchema> | undefined): SourceMark | undefined => mark && { ...mark }

/** An error about a record, with its line. */
function refused(line: number, error: unknown): unknown {
  if (!isMainstemError(error)) return error
  return fail(error.code, `line ${line} of the import is refused`, {
    detail: error.detail ? `${error.message}: ${error.detail}` : error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    data: { line },
    cause: error,
  })
}

export interface ImportOptions {
  /** Whole batches to pass over: those of an earlier try. Default 0. */
  readonly skip?: number
  readonly fileSystem?: FileSystem
  /** Told what is durable. */
  readonly onProgress?: (done: Imported) => void
}

export interface Imported {
  /** Batches of the export that are in the log, those passed over too: how many to skip next time. */
  readonly batches: number
  readonly records: number
  /** The log's end. */
  readonly end: number
}

const IN_FLIGHT_MAX = 64
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024

/**
 * Fills the log in a folder, a new one or one that no application has open. Batches, marks, append times and layouts are those of the
 * export; positions are too, where it is the whole of a log and this one is new.
 * @throws DATA_DIR_IN_USE, CONTRACT_CHANGED where a topic is there in another form, REQUEST_INVALID naming the line, LOG_FULL
 */
export async function importLog(path: string, reader: ImportReader, options: ImportOptions = {}): Promise<Imported> {
  const { fileSystem = nodeFileSystem, skip = 0 } = options
  const filled = await openFilledLog({ path, fileSystem, seal: false })
  try {
    const topics = await adopt(filled, reader.topics)
    return await fill(filled, reader, topics, { ...options, skip })
  } finally {
    await filled.log.close()
  }
}

interface InFlight {
  readonly done: Promise<Appended>
  readonly records: number
  readonly bytes: number
}

async function fill(
  { log, batch }: FilledLog,
  reader: ImportReader,
  topics: ReadonlyMap<number, LogTopic>,
  { skip, onProgress }: ImportOptions & { skip: number },
): Promise<Imported> {
  let batches = 0
  let records = 0
  const flying: InFlight[] = []
  const land = async () => {
    const { done, records: count } = flying.shift()!
    await done
    batches++
    records += count
    onProgress?.({ batches, records, end: log.end })
  }
  try {
    for await (const read of reader.batches()) {
      if (batches + flying.length < skip) {
        batches++
        continue
      }
      const next = batch()
      for (const record of read.records) add(next, record, topics)
      const { bytes, count } = next
      const done = next.commit(read.mark, read.appendTimeMs)
      done.catch(() => {})
      flying.push({ done, records: count, bytes })
      while (flying.length > IN_FLIGHT_MAX || flying.reduce((sum, each) => sum + each.bytes, 0) > IN_FLIGHT_BYTES_MAX)
        await land()
    }
  } finally {
    while (flying.length > 0) await land()
  }
  return { batches, records, end: log.end }
}

function add(
  batch: ReturnType<FilledLog['batch']>,
  record: ImportedRecord,
  topics: ReadonlyMap<number, LogTopic>,
): void {
  const topic = topics.get(record.layout)!
  const { op, before, after, parked, line } = record
  try {
    if (op === 'event') batch.event(topic, after!)
    else if (op === 'insert') batch.insert(topic, after!)
    else if (op === 'update') batch.update(topic, before!, after!)
    else if (op === 'delete') batch.delete(topic, before!)
    else batch.parked(topic, parked!)
  } catch (error) {
    throw refused(line, error)
  }
}

/** Makes the export's topics known to the log. Gives, by the export's layouts, in which topic entry their records go. */
async function adopt({ topics }: FilledLog, exported: readonly StoredTopic[]): Promise<ReadonlyMap<number, LogTopic>> {
  const { stored } = topics
  const layoutIds = new Set(stored.flatMap(({ layouts }) => layouts.map(({ id }) => id)))
  const ids = new Set(stored.map(({ id }) => id))
  const places = new Map<number, number>()
  const added = exported.flatMap(topic => {
    const known = stored.find(({ name }) => name === topic.name)
    if (known) {
      for (const layout of topic.layouts) places.set(layout.id, sameLayout(known, topic, layout).id)
      return []
    }
    const layouts = topic.layouts.map(layout => {
      const id = free(layoutIds, layout.id)
      places.set(layout.id, id)
      return { ...layout, id }
    })
    return [{ ...topic, id: free(ids, topic.id), layouts }]
  })
  if (added.length > 0) await topics.adopt([...stored, ...added])
  return new Map([...places].map(([from, to]) => [from, topics.layout(to)!.topic]))
}

/** The number itself, or the next one that is free; it is taken then. */
function free(taken: Set<number>, wanted: number): number {
  const id = taken.has(wanted) ? Math.max(...taken) + 1 : wanted
  taken.add(id)
  return id
}

function sameLayout(known: StoredTopic, topic: StoredTopic, layout: StoredTopic['layouts'][number]) {
  const sameKey = known.kind === topic.kind && known.single === topic.single && known.key.join() === topic.key.join()
  const same = known.layouts.find(
    each =>
      sameFields(each.fields, layout.fields) &&
      versionOf(each) === versionOf(layout) &&
      each.variant?.name === layout.variant?.name,
  )
  if (sameKey && same) return same
  throw fail('CONTRACT_CHANGED', `topic ${topic.name} of the export is not that of the log`, {
    detail: sameKey ? `the log has no layout as ${layout.id} of the export` : 'its key is another',
    hint: 'import into a new data folder',
    data: { topic: topic.name },
  })
}
