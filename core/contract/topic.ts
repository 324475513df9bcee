// Contracts at run time: the definition that an application writes, compiled into codecs and validators.
import type { z } from 'zod'
import { fail } from '../errors.ts'
import type { Field, ObjectType } from './describe.ts'
import type { KeyColumns, Topic } from './input.ts'
import { KeyCodec } from './key.ts'
import { compileParser, type Parser } from './parser.ts'
import { checkRetain, type Retain } from './retain.ts'
import { createRowCodec, type RowCodec } from './row-codec.ts'
import { checkTags, type TagFields } from './tags.ts'
import { type CompiledUpcast, compileUpcasts, type Upcast, upcastable } from './upcast.ts'
import {
  type RecordSchema,
  type RecordShape,
  type RecordType,
  shapeOf,
  typeOfShape,
  type VariantOf,
  variantFinder,
} from './variants.ts'

/** Names are durable: they stand in the log, in folders, in URLs and on database servers. */
const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/

/** @throws DEFINITION_INVALID */
export function checkName(what: string, name: string): void {
  if (!NAME.test(name)) {
    throw fail('DEFINITION_INVALID', `'${name}' is not a ${what} name`, {
      hint: 'take letters, digits, _ and -, starting with a letter or _, at most 63',
    })
  }
}

/**
 * Declares a topic of the application's own events.
 * @param name durable: the records in the log are found by it
 * @param contract `value`: the schema of a record, `z.object({ … })` or `z.discriminatedUnion('type', [ … ])` of such; `key`: the
 * field, or fields, that say whose record it is, of the same type in every variant; `time`: the date field that is its event
 * time (default: its append time); `tags`: fields by whose values events are found too (`log.tagged`; default none): strings,
 * enums, whole numbers, booleans, arrays of them. Each costs about the event's space again; they may be added and removed later;
 * `retain`: how much history is kept (default: all)
 * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
 */
export function topic<
  const N extends string,
  Z extends RecordSchema,
  const K extends KeyColumns<z.output<Z>>,
  const Tags extends TagFields<z.output<Z>> = never,
>(
  name: N,
  contract: {
    readonly key: K
    readonly value: Z
    readonly time?: keyof z.output<Z> & string
    readonly tags?: readonly Tags[]
    readonly retain?: Retain
  },
): Topic<N, Z, K, z.output<Z>, Tags> {
  checkName('topic', name)
  checkRetain(name, contract.retain)
  compileContract(name, 'topic', contract.value, contract.key, [], contract.tags)
  return upcastable({ kind: 'topic', name, ...contract }) as unknown as Topic<N, Z, K, z.output<Z>, Tags>
}

/** What code that handles records needs of a contract: of its fields, variant by variant. */
export interface Contract extends RecordShape {
  readonly name: string
  readonly kind: 'topic' | 'table'
  readonly schema: RecordSchema
  readonly key: KeyCodec
  /** What is stored: the schema's output. */
  readonly type: RecordType
  /** The number of a record's variant, 0 where there is one. @throws RECORD_REFUSED */
  readonly variantOf: VariantOf
  /** From what a caller gives (the schema's input) to what is stored. */
  readonly parse: Parser
  /** Counts from 1: one more than there are upcasts. */
  readonly version: number
  /** From version 1 on. */
  readonly upcasts: readonly CompiledUpcast[]
  /** Fields by whose values events are found. */
  readonly tags: readonly string[]
}

/** A contract of one object: a table's, always. */
export interface ObjectContract extends Contract {
  readonly schema: z.ZodObject
  readonly type: ObjectType
  readonly codec: RowCodec
}

/** Compiles a contract: `keyColumns` is one column's name, or several. @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED */
export function compileContract(
  name: string,
  kind: Contract['kind'],
  schema: z.ZodObject,
  keyColumns: unknown,
  upcasts?: readonly Upcast[],
  tags?: readonly string[],
): ObjectContract
export function compileContract(
  name: string,
  kind: Contract['kind'],
  schema: RecordSchema,
  keyColumns: unknown,
  upcasts?: readonly Upcast[],
  tags?: readonly string[],
): Contract
export function compileContract(
  name: string,
  kind: Contract['kind'],
  schema: RecordSchema,
  keyColumns: unknown,
  upcasts: readonly Upcast[] = [],
  tags: readonly string[] = [],
): Contract {
  const shape = shapeOf(schema, name)
  if (kind === 'table' && shape.discriminator !== undefined)
    throw fail('CONTRACT_UNSUPPORTED', `the rows of table ${name} cannot be a union`, {
      hint: "a table's columns are those of every row: declare them as z.object({ … }), nullable where a row may lack one",
    })
  const columns = keyColumnsOf(name, shape, keyColumns)
  const contract = {
    name,
    kind,
    schema,
    ...shape,
    key: new KeyCodec(columns, !Array.isArray(keyColumns), name),
    type: typeOfShape(shape),
    variantOf: variantFinder(name, shape),
    parse: compileParser(schema, name),
    version: upcasts.length + 1,
    upcasts: compileUpcasts(
      name,
      { ...shape, schema },
      columns.map(column => column.name),
      upcasts,
    ),
    tags: checkTags(name, shape, tags),
  }
  return contract.type.kind === 'object' ? Object.assign(contract, { codec: createRowCodec(contract.type) }) : contract
}

/** The key's columns: the same ones in every variant, since a stream has records of all. */
function keyColumnsOf(name: string, { variants }: RecordShape, keyColumns: unknown): readonly Field[] {
  const names: readonly unknown[] = Array.isArray(keyColumns) ? keyColumns : [keyColumns]
  return names.map(column => {
    const found = variants.map(({ name: variant, type }) => {
      const field = type.fields.find(candidate => candidate.name === column)
      if (field) return field
      const of = variant === undefined ? '' : ` in its variant ${variant}`
      throw fail('DEFINITION_INVALID', `${name} has no key column '${String(column)}'${of}`, {
        detail: `it has ${type.fields.map(each => each.name).join(', ')}`,
      })
    })
    const other = found.findIndex(({ type }) => JSON.stringify(type) !== JSON.stringify(found[0]?.type))
    if (other > 0)
      throw fail('DEFINITION_INVALID', `${name}: the key column '${String(column)}' is not the same in every variant`, {
        detail: `it is ${found[0]?.type.kind} in ${variants[0]?.name}, ${found[other]?.type.kind} in ${variants[other]?.name}`,
        hint: 'give the column one schema, and use it in each variant',
      })
    return found[0]!
  })
}
