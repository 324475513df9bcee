// The columns of one block that belong to a scan's topics, and the accessors that step over them: one object per variant of a
// topic with a getter per field, generated, so that `sum += record.amount` costs a load from a typed array. (One object for all
// variants, whose getters go by the variant, was measured: no faster where fields are common, slower where they are not.)
import { fail } from '../../errors.ts'
import type { Column, ColumnBatch, LogTopic, RecordAccessor, RecordOp, ScanPart } from '../log.ts'
import { OPS } from '../records.ts'
import { planOf } from './block-writer.ts'
import type { ColumnKind, PlannedColumn } from './plan.ts'
import type { GroupData, ImageData, SealedBlock } from './sealed-block.ts'

/** What generated accessors read: whole columns, and where they stand in them. */
interface Place {
  i: number
}

export class Batch implements ColumnBatch {
  readonly first: number
  readonly count: number
  readonly block: SealedBlock
  readonly parts: readonly Part[]
  /** Records of the block that are within the scan's positions. */
  readonly begin: number
  readonly end: number

  constructor(block: SealedBlock, topics: readonly LogTopic[], from: number, to: number) {
    this.block = block
    const { first, last, count } = block.entry
    this.begin = from <= first ? 0 : block.indexOf(from)
    this.end = to >= last ? count : block.indexOf(to + 1)
    this.first = Math.max(first, from)
    const parts: Part[] = []
    // The variants of a scan are numbered through, topic after topic.
    const bases = new Map<number, number>()
    let base = 0
    for (const { id, contract } of topics) {
      bases.set(id, base)
      base += contract.variants.length
    }
    for (const [n, group] of block.groups.entries()) {
      const from = bases.get(group.layout.topic.id)
      if (from === undefined || group.parked) continue
      const part = new Part(this, n, group, from)
      if (part.count > 0) parts.push(part)
    }
    this.parts = parts
    this.count = parts.reduce((sum, part) => sum + part.count, 0)
  }
}

/** One group's records within a scan. */
export class Part implements ScanPart {
  readonly topic: LogTopic
  readonly variant: number
  readonly variantName: string | undefined
  readonly op: RecordOp
  readonly count: number
  readonly group: GroupData
  /** Number of the group in its block. */
  readonly number: number
  /** The group's first record that belongs to the scan. */
  readonly begin: number
  readonly #batch: Batch
  readonly #columns = new Map<string, Column>()

  /** @param base number of its topic's first variant */
  constructor(batch: Batch, number: number, group: GroupData, base: number) {
    this.#batch = batch
    this.number = number
    this.group = group
    const { topic } = group.layout
    const place = topic.layouts.indexOf(group.layout)
    if (place < 0) throw fail('CONTRACT_CHANGED', `the contract of ${topic.name} was changed during a scan`)
    this.topic = topic
    this.variant = base + place
    this.variantName = topic.contract.variants[place]?.name
    this.op = OPS[group.op] ?? 'event'
    const { begin, end, block } = batch
    if (begin === 0 && end === block.entry.count) {
      this.begin = 0
      this.count = group.count
      return
    }
    const [before, within] = counts(block.groupOf, number, begin, end)
    this.begin = before
    this.count = within
  }

  positions(): Float64Array {
    const { block, begin, end } = this.#batch
    const of = block.groupOf
    const all = block.positions
    const positions = new Float64Array(this.count)
    let at = 0
    for (let n = begin; n < end; n++) if (of[n] === this.number) positions[at++] = all ? all[n]! : block.entry.first + n
    return positions
  }

  keyHashes(): Float64Array {
    return this.group.images[0]!.hashes.numbers().subarray(this.begin, this.begin + this.count)
  }

  column(name: string, image: 'after' | 'before' = 'after'): Column {
    const known = this.#columns.get(`${image}:${name}`)
    if (known) return known
    const data = this.group.images[image === 'before' ? 1 : 0]
    const planned = planOf(this.group.layout).columns
    const n = planned.findIndex(column => column.name === name && column.kind !== 'tags')
    if (n < 0 || !data) throw new RangeError(`${this.topic.name} has no column '${name}' of this kind`)
    let made: Column
    try {
      made = columnOf(planned[n]!, data, n, this.begin, this.begin + this.count)
    } catch (error) {
      throw this.#batch.block.damaged(error)
    }
    this.#columns.set(`${image}:${name}`, made)
    return made
  }
}

function counts(of: Uint8Array | Uint16Array, group: number, begin: number, end: number): [number, number] {
  let before = 0
  let within = 0
  for (let n = 0; n < end; n++) {
    if (of[n] !== group) continue
    if (n < begin) before++
    else within++
  }
  return [before, within]
}

function columnOf(planned: PlannedColumn, image: ImageData, n: number, begin: number, end: number): Column {
  const data = image.columns[n]!
  const tags = planned.tags.map(tag => image.columns[tag]!.numbers())
  const present = tags.length > 0 ? presentOf(tags, begin, end) : undefined
  const nulls = present ? { present } : {}
  const { kind, type } = planned
  if (type.kind === 'enum') {
    return {
      kind: 'codes',
      codes: Uint32Array.from(data.numbers().subarray(begin, end)),
      dictionary: type.values,
      ...nulls,
    }
  }
  if (kind === 'int' || kind === 'float' || kind === 'small')
    return { kind: 'numbers', values: data.numbers().subarray(begin, end), ...nulls }
  if (type.kind === 'string' && data.isDictionary)
    return { kind: 'codes', codes: data.codes().subarray(begin, end), dictionary: data.dictionary(), ...nulls }
  if (type.kind === 'string') return { kind: 'texts', text: index => data.text(begin + index), ...nulls }
  if (kind === 'bigint') return { kind: 'bigints', bigint: index => data.bigint(begin + index), ...nulls }
  return { kind: 'bytes', bytes: index => data.bytes(begin + index), ...nulls }
}

/** 1 where all nullables around a value have one. */
function presentOf(tags: readonly Float64Array[], begin: number, end: number): Uint8Array {
  const present = new Uint8Array(end - begin).fill(1)
  for (const tag of tags) for (let n = begin; n < end; n++) if (tag[n] !== 1) present[n - begin] = 0
  return present
}

/** Reads one group's image at a place that others move. All but the fields' getters is private: fields may have any name. */
type FieldReader = object

interface FieldReaderClass {
  new (place: Place): FieldReader
  load(reader: FieldReader, image: ImageData): void
}

const classes = new WeakMap<object, Map<string, FieldReaderClass>>()

const KINDS = new Set(['int32', 'int', 'float', 'date', 'boolean', 'enum', 'string', 'bigint'])

/** The class of a variant's records with some fields: made once, so that code over it stays monomorphic. */
function readerClass(group: GroupData, fields: readonly string[] | undefined): FieldReaderClass {
  const plan = planOf(group.layout)
  let known = classes.get(plan)
  if (!known) {
    known = new Map()
    classes.set(plan, known)
  }
  const name = fields ? fields.join('\0') : ''
  let made = known.get(name)
  if (!made) {
    made = generate(plan.columns, fields)
    known.set(name, made)
  }
  return made
}

function generate(columns: readonly PlannedColumn[], fields: readonly string[] | undefined): FieldReaderClass {
  const used = [...columns.entries()].filter(
    ([, { name, kind, type }]) =>
      kind !== 'tags' && KINDS.has(type.kind) && (fields === undefined || fields.includes(name)),
  )
  const tags = [...new Set(used.flatMap(([, column]) => column.tags))]
  const own = used.flatMap(([n, { kind }]) =>
    isText(kind) ? [`#c${n} = null;`, `#x${n};`, `#d${n} = null;`] : [`#c${n} = none;`],
  )
  const slots = [...tags.map(tag => `#c${tag} = none;`), ...own]
  const loads = [
    ...tags.map(tag => `r.#c${tag} = c[${tag}].numbers();`),
    ...used.map(([n, { kind }]) => (isText(kind) ? loadText(n, kind === 'text') : `r.#c${n} = c[${n}].numbers();`)),
  ]
  const enums = used.map(([n, { type }]) => (type.kind === 'enum' ? `const e${n} = enums[${n}];` : ''))
  const getters = used.map(([n, column]) => `get [${JSON.stringify(column.name)}]() { ${getter(n, column)} }`)
  const text = `${enums.join('')} return class { #at; ${slots.join(' ')} constructor(at) { this.#at = at } static load(r, image) { const c = image.columns; ${loads.join(' ')} } ${getters.join(' ')} }`
  const values = columns.map(({ type }) => (type.kind === 'enum' ? type.values : undefined))
  return new Function('none', 'enums', 'Date', text)(new Float64Array(0), values, RealDate) as FieldReaderClass
}

const isText = (kind: ColumnKind): boolean => kind === 'text' || kind === 'bigint'

const loadText = (n: number, dictionary: boolean): string =>
  `r.#x${n} = c[${n}]; const has${n} = ${dictionary} && c[${n}].isDictionary; r.#c${n} = has${n} ? c[${n}].codes() : null; r.#d${n} = has${n} ? c[${n}].dictionary() : null;`

const RealDate = Date

function getter(n: number, { type, tags }: PlannedColumn): string {
  const absent = tags.map(tag => `if (this.#c${tag}[i] !== 1) return null;`).join(' ')
  const value = `this.#c${n}[i]`
  const read = () => {
    switch (type.kind) {
      case 'enum':
        return `e${n}[${value}]`
      case 'boolean':
        return `${value} === 1`
      case 'date':
        return `new Date(${value})`
      case 'string':
        return `this.#c${n} !== null ? this.#d${n}[this.#c${n}[i]] : this.#x${n}.text(i)`
      case 'bigint':
        return `this.#x${n}.bigint(i)`
      default:
        return value
    }
  }
  return `const i = this.#at.i; ${absent} return ${read()};`
}

/** Steps over the records of batches in the order of the log. */
export class Accessor<R> implements RecordAccessor<R> {
  readonly #fields: readonly string[] | undefined
  readonly #image: number
  readonly #place: Place = { i: -1 }
  readonly #readers = new Map<FieldReaderClass, FieldReader[]>()
  #record: unknown
  variant = -1
  #alone = true
  #left = 0
  #at = 0
  #end = 0
  #of: Uint8Array | Uint16Array = new Uint8Array(0)
  #local: Uint32Array = new Uint32Array(0)
  #records: unknown[] = []
  #variants: number[] = []

  constructor(fields: readonly string[] | undefined, image: 'after' | 'before' = 'after') {
    this.#fields = fields
    this.#image = image === 'before' ? 1 : 0
  }

  get record(): R {
    return this.#record as R
  }

  reset(given: ColumnBatch): void {
    const batch = given as Batch
    try {
      this.#reset(batch)
    } catch (error) {
      throw batch.block.damaged(error)
    }
  }

  #reset(batch: Batch): void {
    const { parts, block } = batch
    const used = new Map<FieldReaderClass, number>()
    this.#records = block.groups.map(() => undefined)
    this.#variants = block.groups.map(() => -1)
    for (const part of parts) {
      this.#records[part.number] = this.#reader(part, used)
      this.#variants[part.number] = part.variant
    }
    this.#alone = block.groups.length === 1
    const only = parts[0]
    if (this.#alone && only) {
      this.#record = this.#records[0]
      this.variant = only.variant
      this.#place.i = only.begin - 1
      this.#left = only.count
      return
    }
    this.#of = block.groupOf
    this.#local = block.localOf
    this.#at = batch.begin - 1
    this.#end = batch.end - 1
  }

  #reader(part: Part, used: Map<FieldReaderClass, number>): FieldReader {
    const Reader = readerClass(part.group, this.#fields)
    const pool = this.#readers.get(Reader) ?? []
    this.#readers.set(Reader, pool)
    const n = used.get(Reader) ?? 0
    used.set(Reader, n + 1)
    const reader = pool[n] ?? new Reader(this.#place)
    pool[n] = reader
    Reader.load(reader, part.group.images[this.#image] ?? part.group.images[0]!)
    return reader
  }

  next(): boolean {
    if (this.#alone) {
      if (this.#left === 0) return false
      this.#left--
      this.#place.i++
      return true
    }
    while (this.#at < this.#end) {
      const n = ++this.#at
      const group = this.#of[n]!
      const variant = this.#variants[group]!
      if (variant < 0) continue
      this.variant = variant
      this.#record = this.#records[group]
      this.#place.i = this.#local[n]!
      return true
    }
    return false
  }
}
