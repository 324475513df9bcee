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
  type Field,
  type RowCodec,
} from '../contract/index.ts'
import { asMainstemError, fail } from '../errors.ts'
import { type FileSystem, isFull } from './file-system.ts'
import { type Adapt, adaptRow, encodeField, type StoredLayout, sameFields, storedFields } from './layout.ts'
import type { LogTopic } from './log.ts'
import { readStored, writeStored } from './stored-file.ts'
import { schemaOfType } from './stored-schema.ts'
import { storedFieldsSchema, topicsFault } from './stored-type.ts'

const FILE = 'topics.json'
const FORMAT = 1

interface StoredTopic {
  readonly id: number
  readonly name: string
  readonly kind: Contract['kind']
  readonly key: readonly string[]
  readonly single: boolean
  readonly layouts: readonly StoredLayout[]
}

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
      layouts: z
        .array(
          z.object({
            id: z.int().positive(),
            fields: storedFieldsSchema,
            added: z.record(z.string(), z.string()).optional(),
          }),
        )
        .min(1),
    }),
  ),
})

/** One shape of a topic's records, and how to read it as the topic's current one. */
export interface Layout {
  readonly id: number
  readonly topic: TopicEntry
  readonly codec: RowCodec
  /** Composed when first needed. */
  decode(reader: ByteReader): AnyRow
}

export class TopicEntry implements LogTopic {
  readonly id: number
  readonly name: string
  stored: StoredTopic
  /** The layout in which records are written. */
  layout: Layout
  #contract: Contract | undefined

  constructor(stored: StoredTopic, contract: Contract | undefined) {
    this.id = stored.id
    this.name = stored.name
    this.stored = stored
    this.#contract = contract
    this.layout = new TopicLayout(this, newestOf(stored))
  }

  /** The application's contract; for a topic that it does not have, one made from the stored layout. */
  get contract(): Contract {
    this.#contract ??= storedContract(this.stored)
    return this.#contract
  }

  become(stored: StoredTopic, contract: Contract): void {
    this.stored = stored
    this.#contract = contract
    this.layout = new TopicLayout(this, newestOf(stored))
  }
}

const newestOf = (stored: StoredTopic): StoredLayout => stored.layouts[stored.layouts.length - 1]!

function storedContract(stored: StoredTopic): Contract {
  const shape = newestOf(stored).fields.map(field => [field.name, schemaOfType(field.type)] as const)
  const key = stored.single ? stored.key[0] : stored.key
  return compileContract(stored.name, stored.kind, z.object(Object.fromEntries(shape)), key)
}

class TopicLayout implements Layout {
  readonly id: number
  readonly topic: TopicEntry
  readonly codec: RowCodec
  readonly #stored: StoredLayout
  /** The newest layout that the steps lead to, and the steps. */
  #to: StoredLayout | undefined
  #steps: readonly Adapt[] = []

  constructor(topic: TopicEntry, stored: StoredLayout) {
    this.id = stored.id
    this.topic = topic
    this.#stored = stored
    this.codec = createRowCodec({ kind: 'object', fields: stored.fields })
  }

  decode(reader: ByteReader): AnyRow {
    const newest = newestOf(this.topic.stored)
    if (this.#to !== newest) this.#compose(newest)
    let row: unknown = this.codec.decode(reader)
    for (const step of this.#steps) row = step(row)
    return row as AnyRow
  }

  #compose(newest: StoredLayout): void {
    const layouts = this.topic.stored.layouts
    const from = layouts.findIndex(layout => layout.id === this.#stored.id)
    const steps: Adapt[] = []
    for (let n = from + 1; n < layouts.length; n++) {
      const step = adaptRow(this.topic.name, layouts[n - 1]!.fields, layouts[n]!)
      if (step) steps.push(step)
    }
    this.#steps = steps
    this.#to = newest
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

  private constructor(fs: FileSystem, folder: string, stored: readonly StoredTopic[]) {
    this.#fs = fs
    this.#folder = folder
    this.#stored = stored
    for (const topic of stored) this.#keep(new TopicEntry(topic, undefined))
  }

  /** @throws LOG_CORRUPT, LOG_FORMAT_NEWER */
  static async open(fs: FileSystem, folder: string): Promise<Topics> {
    if (!(await fs.list(folder)).includes(FILE)) return new Topics(fs, folder, [])
    const stored = await readStored(fs, folder, FILE)
    const format = z.object({ format: z.int() }).safeParse(stored)
    if (format.success && format.data.format > FORMAT) {
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
    return new Topics(fs, folder, topics)
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
    return stored !== undefined && !sameFields(newestOf(stored).fields, storedFields(contract.type))
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
    const fields = storedFields(contract.type)
    if (sameFields(newestOf(known.stored).fields, fields)) {
      known.become(known.stored, contract)
      this.#layouts.set(known.layout.id, known.layout)
      return known
    }
    const layout = nextLayout(this.#nextLayoutId(), known.stored, contract)
    const stored = { ...known.stored, layouts: [...known.stored.layouts, layout] }
    await this.#save(this.#stored.map(topic => (topic.id === stored.id ? stored : topic)))
    known.become(stored, contract)
    this.#layouts.set(layout.id, known.layout)
    return known
  }

  async #add(contract: Contract): Promise<TopicEntry> {
    const stored: StoredTopic = {
      id: this.#stored.reduce((most, topic) => Math.max(most, topic.id), 0) + 1,
      name: contract.name,
      kind: contract.kind,
      key: contract.key.columns.map(column => column.name),
      single: contract.key.single,
      layouts: [{ id: this.#nextLayoutId(), fields: storedFields(contract.type) }],
    }
    await this.#save([...this.#stored, stored])
    return this.#keep(new TopicEntry(stored, contract))
  }

  #nextLayoutId(): number {
    return Math.max(0, ...this.#layouts.keys()) + 1
  }

  async #save(topics: readonly StoredTopic[]): Promise<void> {
    try {
      await writeStored(this.#fs, this.#folder, FILE, { format: FORMAT, crc: topicsCrc(topics), topics })
    } catch (error) {
      throw asMainstemError(error, isFull(error) ? 'LOG_FULL' : 'LOG_FAILED', `cannot write ${FILE}`)
    }
    this.#stored = topics
  }

  #keep(entry: TopicEntry): TopicEntry {
    this.#byName.set(entry.name, entry)
    this.#byId.set(entry.id, entry)
    for (const stored of entry.stored.layouts) this.#layouts.set(stored.id, new TopicLayout(entry, stored))
    this.#layouts.set(entry.layout.id, entry.layout)
    return entry
  }
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

/** The contract's layout after the topic's newest one; values of added fields that have a default are taken now. */
function nextLayout(id: number, topic: StoredTopic, contract: Contract): StoredLayout {
  const old = newestOf(topic).fields
  const fields = storedFields(contract.type)
  const added: Record<string, string> = {}
  for (const field of fields) {
    if (old.some(known => known.name === field.name)) continue
    const value = defaultOf(contract, field)
    if (value !== undefined) added[field.name] = value
  }
  const layout: StoredLayout = Object.keys(added).length > 0 ? { id, fields, added } : { id, fields }
  adaptRow(topic.name, old, layout)
  return layout
}

function defaultOf(contract: Contract, field: Field): string | undefined {
  const schema: z.ZodType | undefined = contract.schema.shape[field.name]
  if (!schema) return undefined
  try {
    const result = schema.safeParse(undefined)
    return result.success && result.data !== undefined ? encodeField(field, result.data) : undefined
  } catch {
    // A schema that needs asynchronous checks, or a default that is not of its type, has no default for this purpose.
    return undefined
  }
}
