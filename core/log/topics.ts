// The log's topics and their layouts (topics.json). A layout's id stands in each record; the file is durable before the first
// record with the id is appended.
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import {
  type AnyRow,
  type ByteReader,
  type Contract,
  compileContract,
  createRowCodec,
  createRowViewCode,
  type RecordSchema,
  type RowCodec,
  type RowView,
  type RowViewCode,
} from '../contract/index.ts'
import { asMainstemError, fail } from '../errors.ts'
import { layoutsFor, storedFor } from './evolution.ts'
import { type FileSystem, isFull } from './file-system.ts'
import { type LayoutPlan, type StoredLayout, storedFields } from './layout.ts'
import type { LogTopic } from './log.ts'
import { readStored, writeStored } from './stored-file.ts'
import { schemaOfType } from './stored-schema.ts'
import { storedFieldsSchema, topicsFault } from './stored-type.ts'
import {
  changedFrom,
  fullShape,
  fullShapes,
  newestVersion,
  type Reading,
  readingOf,
  type StoredTopic,
} from './versions.ts'

const FILE = 'topics.json'
/** 2 where there are variants, which a version without them would take for one another. */
const formatOf = (topics: readonly StoredTopic[]): number =>
  topics.some(({ layouts }) => layouts.some(({ variant }) => variant)) ? 2 : 1
const FORMAT_NEWEST = 2

const fileSchema = z.object({
  format: z.number(),
  /** CRC-32 of the topics as JSON; the first versions wrote none. */
  crc: z.int().optional(),
  topics: z.array(
    z.object({
      id: z.int().positive(),
      name: z.string(),
      kind: z.enum(['topic', 'table']),
      key: z.array(z.string()).min(1),
      single: z.boolean(),
      tags: z.array(z.string()).optional(),
      layouts: z
        .array(
          z.object({
            id: z.int().positive(),
            fields: storedFieldsSchema,
            added: z.record(z.string(), z.string()).optional(),
            version: z.int().positive().optional(),
            variant: z.object({ by: z.string(), name: z.string() }).optional(),
            upcast: z.union([z.literal('record'), z.object({ renamed: z.record(z.string(), z.string()) })]).optional(),
          }),
        )
        .min(1),
    }),
  ),
})

/** Topics as another log's export has them. @throws LOG_CORRUPT */
export function parseTopics(json: unknown, of: string): readonly StoredTopic[] {
  const parsed = fileSchema.shape.topics.safeParse(json)
  const topics = parsed.success ? (parsed.data as unknown as readonly StoredTopic[]) : undefined
  const fault = topics ? topicsFault(topics) : parsed.error?.issues[0]?.message
  if (!topics || fault !== undefined)
    throw fail('LOG_CORRUPT', `the topics of ${of} cannot be read`, { detail: fault ?? '' })
  return topics
}

/** One shape of a topic's records, or of a variant of them, and how to read it as the contract of now has it. */
export interface Layout {
  readonly id: number
  readonly topic: TopicEntry
  readonly codec: RowCodec
  /** How its rows become the current contract's: by column, or 'by record' through `adapt`. Composed when first needed. */
  readonly plan: LayoutPlan
  /**
   * The row in the shape of the current contract.
   * @param position of its record, for error messages
   * @throws CONTRACT_UPCAST_FAILED, CONTRACT_UPCAST_MISSING
   */
  decode(reader: ByteReader, position?: number): AnyRow
  /** The same from a row that is decoded already, by `codec` or from columns. */
  adapt(row: AnyRow, position?: number): AnyRow
  /** What lends rows without a copy; undefined where they have to be adapted. */
  readonly lender: RowLender | undefined
}

/** The accessors of a layout's records: one object for rows after a change, and one for those before it. */
export class RowLender {
  readonly code: RowViewCode
  readonly after: RowView
  readonly before: RowView

  constructor(code: RowViewCode) {
    this.code = code
    this.after = code.view()
    this.before = code.view()
  }

  recall(): void {
    this.after.source.close()
    this.before.source.close()
  }
}

export class TopicEntry implements LogTopic {
  readonly id: number
  readonly name: string
  readonly #known = new Map<number, Layout>()
  stored!: StoredTopic
  /** The application's contract, where it has the topic. */
  declared: Contract | undefined
  /** In which records are written: one, or one for each variant of the contract, in its order. */
  layouts: readonly Layout[] = []
  /** How a table's contract writes rows, where its layout does so in another way: with its fields in another order. */
  contractCodec: RowCodec | undefined
  /** Of which log it is. */
  readonly owner: Topics
  #made: Contract | undefined

  constructor(owner: Topics, stored: StoredTopic, contract: Contract | undefined) {
    this.owner = owner
    this.id = stored.id
    this.name = stored.name
    this.become(stored, contract)
  }

  /** The application's contract; for a topic that it does not have, one made from the stored layouts. */
  get contract(): Contract {
    return this.declared ?? this.#madeContract()
  }

  #madeContract(): Contract {
    this.#made ??= storedContract(this.stored)
    return this.#made
  }

  /** The layout in which a row is written. @throws RECORD_REFUSED where it is of no variant of the contract */
  layoutOf(row: AnyRow): Layout {
    return this.layouts[this.contract.variantOf(row)]!
  }

  /** All its layouts, older ones too. */
  get all(): Iterable<Layout> {
    return this.#known.values()
  }

  become(stored: StoredTopic, contract: Contract | undefined): void {
    this.stored = stored
    this.declared = contract
    this.#made = undefined
    for (const layout of stored.layouts)
      if (!this.#known.has(layout.id)) this.#known.set(layout.id, new TopicLayout(this, layout))
    const { layouts } = stored
    const version = newestVersion(layouts)
    const shapes = contract
      ? contract.variants.map(({ name }) => fullShape(layouts, version, name)!)
      : fullShapes(layouts, version)
    this.layouts = shapes.map(({ id }) => this.#known.get(id)!)
    this.contractCodec = undefined
    if (contract?.type.kind !== 'object') return
    const fields = JSON.stringify(storedFields(contract.type))
    if (JSON.stringify(this.layouts[0]!.codec.type.fields) !== fields)
      this.contractCodec = createRowCodec(contract.type)
  }
}

function storedContract({ name, kind, key, single, tags, layouts }: StoredTopic): Contract {
  const shapes = fullShapes(layouts, newestVersion(layouts))
  const objects = shapes.map(({ fields }) =>
    z.object(Object.fromEntries(fields.map(field => [field.name, schemaOfType(field.type)]))),
  )
  const by = shapes[0]?.variant?.by
  const schema: RecordSchema =
    by === undefined ? objects[0]! : z.discriminatedUnion(by, objects as unknown as [z.ZodObject, ...z.ZodObject[]])
  return compileContract(name, kind, schema, single ? key[0] : key, [], tags)
}

class TopicLayout implements Layout {
  readonly id: number
  readonly topic: TopicEntry
  readonly codec: RowCodec
  readonly #stored: StoredLayout
  /** What the reading was made for, and the reading. */
  #for: readonly [StoredTopic, Contract | undefined] | undefined
  #reading: Reading | undefined
  #lender: RowLender | undefined

  constructor(topic: TopicEntry, stored: StoredLayout) {
    this.id = stored.id
    this.topic = topic
    this.#stored = stored
    this.codec = createRowCodec({ kind: 'object', fields: stored.fields })
  }

  get plan(): LayoutPlan {
    return this.#current().plan
  }

  decode(reader: ByteReader, position?: number): AnyRow {
    const row = this.codec.decode(reader)
    const { adapt } = this.#current()
    return adapt ? adapt(row, position) : row
  }

  adapt(row: AnyRow, position?: number): AnyRow {
    const { adapt } = this.#current()
    return adapt ? adapt(row, position) : row
  }

  get lender(): RowLender | undefined {
    if (this.#current().adapt) return undefined
    this.#lender ??= new RowLender(createRowViewCode(this.codec.type, this.topic.name))
    return this.#lender
  }

  #current(): Reading {
    const { stored, declared } = this.topic
    if (!this.#reading || this.#for?.[0] !== stored || this.#for[1] !== declared) {
      this.#reading = readingOf(stored, this.#stored, declared)
      this.#for = [stored, declared]
    }
    return this.#reading
  }
}

export class Topics {
  readonly #fs: FileSystem
  readonly #folder: string
  #stored: readonly StoredTopic[]
  readonly #byName = new Map<string, TopicEntry>()
  readonly #byId = new Map<number, TopicEntry>()
  readonly #layouts = new Map<number, Layout>()
  #tail: Promise<unknown> = Promise.resolve()
  /** Grows when the tags of a topic change: what was indexed by them is no longer all. */
  tagsVersion = 0
  readonly #asStored: boolean

  private constructor(fs: FileSystem, folder: string, stored: readonly StoredTopic[], asStored: boolean) {
    this.#fs = fs
    this.#folder = folder
    this.#stored = stored
    this.#asStored = asStored
    for (const topic of stored) this.#keepStored(topic)
  }

  /**
   * @param asStored each layout is a topic entry of its own, with a contract made from it: rows are read, and written, in the
   * shape that they were written in, and no application is needed for its upcasts. For tools.
   * @throws LOG_CORRUPT, LOG_FORMAT_NEWER
   */
  static async open(fs: FileSystem, folder: string, asStored = false): Promise<Topics> {
    if (!(await fs.list(folder)).includes(FILE)) return new Topics(fs, folder, [], asStored)
    const stored = await readStored(fs, folder, FILE)
    const format = z.object({ format: z.int() }).safeParse(stored)
    if (format.success && format.data.format > FORMAT_NEWEST) {
      throw fail('LOG_FORMAT_NEWER', 'the log was written by a newer version', {
        detail: `${join(folder, FILE)} has format ${format.data.format}`,
      })
    }
    const parsed = fileSchema.safeParse(stored)
    if (!parsed.success) throw topicsCorrupt(folder, parsed.error.issues[0]?.message)
    const { crc } = parsed.data
    if (crc !== undefined && crc !== topicsCrc((stored as { topics: unknown }).topics))
      throw topicsCorrupt(folder, 'its checksum is wrong')
    const topics = parsed.data.topics as unknown as readonly StoredTopic[]
    const fault = topicsFault(topics)
    if (fault !== undefined) throw topicsCorrupt(folder, fault)
    return new Topics(fs, folder, topics, asStored)
  }

  /** The topics, as the application has them. */
  entries(): readonly TopicEntry[] {
    return [...this.#byName.values()]
  }

  /** Takes over topics that another log has; ids must be new or the same. @throws LOG_FULL */
  async adopt(stored: readonly StoredTopic[]): Promise<void> {
    await this.#save(stored)
    for (const topic of stored) this.#keepStored(topic)
  }

  /** The topic as this log has it. */
  writing(topic: LogTopic): TopicEntry | undefined {
    return topic instanceof TopicEntry && topic.owner === this ? topic : this.#byId.get(topic.id)
  }

  /** Topics as they were stored, for reading only. */
  static of(fs: FileSystem, folder: string, stored: readonly StoredTopic[]): Topics {
    return new Topics(fs, folder, stored, false)
  }

  /** In the order of topics.json. */
  get stored(): readonly StoredTopic[] {
    return this.#stored
  }

  get empty(): boolean {
    return this.#stored.length === 0
  }

  find(name: string): TopicEntry | undefined {
    return this.#byName.get(name)
  }

  entry(id: number): TopicEntry | undefined {
    return this.#byId.get(id)
  }

  layout(id: number): Layout | undefined {
    return this.#layouts.get(id)
  }

  changed(contract: Contract): boolean {
    const stored = this.#byName.get(contract.name)?.stored
    return stored !== undefined && changedFrom(stored, contract)
  }

  /** Whether a contract is registered as it is. */
  has(contract: Contract): boolean {
    return this.#byName.has(contract.name) && !this.changed(contract)
  }

  /** Reads a topic by a contract that another thread has registered. @throws TOPIC_UNKNOWN, CONTRACT_CHANGED */
  bind(contract: Contract): TopicEntry {
    const { name } = contract
    const known = this.#byName.get(name)
    const hint = 'register it where the log is open, with the same application'
    if (!known) throw fail('TOPIC_UNKNOWN', `${name}: the log has no such topic`, { hint })
    checkSame(known.stored, contract)
    if (changedFrom(known.stored, contract))
      throw fail('CONTRACT_CHANGED', `${name}: the contract is not the one that the log has registered`, { hint })
    known.become(known.stored, contract)
    return this.#keep(known)
  }

  /** Takes over what another thread has stored. Contracts that are not the newest any more give way to the stored ones. */
  follow(stored: readonly StoredTopic[]): void {
    for (const topic of stored) {
      const known = this.#byName.get(topic.name)
      const declared = known?.declared
      if (!known) this.#keepStored(topic)
      else {
        known.become(topic, declared && !changedFrom(topic, declared) ? declared : undefined)
        this.#keep(known)
      }
    }
    this.#stored = stored
  }

  /** @throws CONTRACT_CHANGED, LOG_FULL */
  register(contract: Contract): Promise<TopicEntry> {
    const done = this.#tail.then(() => this.#register(contract))
    this.#tail = done.catch(() => {})
    return done
  }

  async #register(contract: Contract): Promise<TopicEntry> {
    const known = this.#byName.get(contract.name)
    if (!known) return this.#add(contract)
    checkSame(known.stored, contract)
    const stored = withTags(storedFor(known.stored, contract, this.#nextLayoutId()), contract.tags)
    if (stored !== known.stored) await this.#save(this.#stored.map(topic => (topic.id === stored.id ? stored : topic)))
    if (tagsOf(stored).join() !== tagsOf(known.stored).join()) this.tagsVersion++
    known.become(stored, contract)
    return this.#keep(known)
  }

  async #add(contract: Contract): Promise<TopicEntry> {
    const untagged: StoredTopic = {
      id: this.#stored.reduce((most, topic) => Math.max(most, topic.id), 0) + 1,
      name: contract.name,
      kind: contract.kind,
      key: contract.key.columns.map(column => column.name),
      single: contract.key.single,
      layouts: layoutsFor(contract, this.#nextLayoutId()),
    }
    const stored = withTags(untagged, contract.tags)
    await this.#save([...this.#stored, stored])
    return this.#keep(new TopicEntry(this, stored, contract))
  }

  #nextLayoutId(): number {
    return Math.max(0, ...this.#layouts.keys()) + 1
  }

  async #save(topics: readonly StoredTopic[]): Promise<void> {
    try {
      await writeStored(this.#fs, this.#folder, FILE, { format: formatOf(topics), crc: topicsCrc(topics), topics })
    } catch (error) {
      throw asMainstemError(error, isFull(error) ? 'LOG_FULL' : 'LOG_FAILED', `cannot write ${FILE}`)
    }
    this.#stored = topics
  }

  #keepStored(stored: StoredTopic): void {
    // A tag's field may be missing in an older layout.
    const { tags: _, ...untagged } = stored
    const parts = this.#asStored ? stored.layouts.map(layout => ({ ...untagged, layouts: [layout] })) : [stored]
    for (const part of parts) this.#keep(new TopicEntry(this, part, undefined))
  }

  #keep(entry: TopicEntry): TopicEntry {
    this.#byName.set(entry.name, entry)
    this.#byId.set(entry.id, entry)
    for (const layout of entry.all) this.#layouts.set(layout.id, layout)
    return entry
  }
}

export const tagsOf = ({ tags = [] }: StoredTopic): readonly string[] => tags

/** Itself where it has these tags. */
function withTags(stored: StoredTopic, tags: readonly string[]): StoredTopic {
  if (tagsOf(stored).join() === tags.join()) return stored
  const { tags: _, layouts, ...rest } = stored
  return tags.length > 0 ? { ...rest, tags, layouts } : { ...rest, layouts }
}

const topicsCrc = (topics: unknown): number => crc32(JSON.stringify(topics))

const topicsCorrupt = (folder: string, what: string | undefined) =>
  fail('LOG_CORRUPT', `${FILE} of the log cannot be read`, {
    detail: `${join(folder, FILE)}: ${what}`,
    hint: 'restore the file from a backup',
  })

function checkSame(stored: StoredTopic, contract: Contract): void {
  const key = contract.key.columns.map(column => column.name)
  const same =
    key.join() === stored.key.join() && contract.key.single === stored.single && contract.kind === stored.kind
  if (same) return
  throw fail('CONTRACT_CHANGED', `${stored.name}: the key is not the one of the records in the log`, {
    detail: `it was ${stored.kind} ${stored.key.join(', ')}, now it is ${contract.kind} ${key.join(', ')}`,
    hint: 'take the old key back, or declare a topic under a new name',
    data: { topic: stored.name, field: key.find((name, n) => stored.key[n] !== name) ?? stored.key[0] },
  })
}
