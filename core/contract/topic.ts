// Contracts at run time: the definition that an application writes, compiled into codecs and validators.
import type { z } from 'zod'
import { fail } from '../errors.ts'
import { describeFields, type ObjectType } from './describe.ts'
import type { KeyColumns, Topic } from './input.ts'
import { KeyCodec } from './key.ts'
import { compileParser, type Parser } from './parser.ts'
import { createRowCodec, type RowCodec } from './row-codec.ts'
import { type CompiledUpcast, compileUpcasts, type Upcast, upcastable } from './upcast.ts'

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
 * @param contract `value`: the schema of a record; `key`: the field, or fields, that say whose record it is;
 * `time`: the date field that is its event time (default: its append time)
 * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
 */
export function topic<const N extends string, Z extends z.ZodObject, const K extends KeyColumns<z.output<Z>>>(
  name: N,
  contract: { readonly key: K; readonly value: Z; readonly time?: keyof z.output<Z> & string },
): Topic<N, Z, K> {
  checkName('topic', name)
  compileContract(name, 'topic', contract.value, contract.key)
  return upcastable({ kind: 'topic', name, ...contract }) as unknown as Topic<N, Z, K>
}

/** What code that handles records needs of a contract. */
export interface Contract {
  readonly name: string
  readonly kind: 'topic' | 'table'
  readonly schema: z.ZodObject
  readonly key: KeyCodec
  /** The stored form: the schema's output. */
  readonly type: ObjectType
  readonly codec: RowCodec
  /** From what a caller gives (the schema's input) to what is stored. */
  readonly parse: Parser
  /** Counts from 1: one more than there are upcasts. */
  readonly version: number
  /** From version 1 on. */
  readonly upcasts: readonly CompiledUpcast[]
}

/** Compiles a contract: `keyColumns` is one column's name, or several. @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED */
export function compileContract(
  name: string,
  kind: Contract['kind'],
  schema: z.ZodObject,
  keyColumns: unknown,
  upcasts: readonly Upcast[] = [],
): Contract {
  const type = describeFields(schema, 'output', name)
  const names: readonly unknown[] = Array.isArray(keyColumns) ? keyColumns : [keyColumns]
  const columns = names.map(column => {
    const field = type.fields.find(candidate => candidate.name === column)
    if (!field) {
      throw fail('DEFINITION_INVALID', `${name} has no key column '${String(column)}'`, {
        detail: `it has ${type.fields.map(each => each.name).join(', ')}`,
      })
    }
    return field
  })
  const key = new KeyCodec(columns, !Array.isArray(keyColumns), name)
  return {
    name,
    kind,
    schema,
    key,
    type,
    codec: createRowCodec(type),
    parse: compileParser(schema, name),
    version: upcasts.length + 1,
    upcasts: compileUpcasts(
      name,
      schema,
      columns.map(column => column.name),
      upcasts,
    ),
  }
}
