// A declared index: its fields, found in the state or in a key of several fields, and their bytes, whose order is that of the values.
// An entry is the bytes of the fields, then those of the row's key, so that entries differ and a range of them is a range of bytes.
import { describe, describeFields, type Field, fail, KeyCodec, type ValueType } from '../../core/index.ts'
import type { ProjectionSpec } from '../projection.ts'

export interface IndexField {
  readonly name: string
  /** Of values that are not null. */
  readonly type: ValueType
  readonly nullable: boolean
  /** Whether it is one of the key's. */
  readonly ofKey: boolean
}

export interface IndexShape {
  readonly fields: readonly IndexField[]
  /** Writes their values. */
  readonly codec: KeyCodec
}

interface Declaring {
  readonly name: string
  readonly spec: ProjectionSpec
  readonly indexes: readonly (readonly string[])[]
}

const INDEXABLE: ReadonlySet<string> = new Set(['int32', 'int', 'float', 'bigint', 'boolean', 'string', 'enum', 'date'])

/** @throws DEFINITION_INVALID where it cannot be one */
export function checkIndex(projection: Declaring, fields: readonly string[]): void {
  const { name, indexes } = projection
  if (fields.length === 0) throw fail('DEFINITION_INVALID', `${name}.index needs a field`)
  const twice = fields.find((field, n) => fields.indexOf(field) !== n)
  if (twice !== undefined) throw fail('DEFINITION_INVALID', `${name}.index has the field '${twice}' twice`)
  if (indexes.some(other => other.join('\0') === fields.join('\0')))
    throw fail('DEFINITION_INVALID', `${name} has the index ${fields.join('+')} twice`)
  shapeOf(projection, fields)
}

/** The declared indexes of a projection. */
export const indexShapes = (projection: Declaring): readonly IndexShape[] =>
  projection.indexes.map(fields => shapeOf(projection, fields))

function shapeOf({ name, spec }: Declaring, names: readonly string[]): IndexShape {
  const state = describeFields(spec.state, 'output', `${name}.state`).fields
  const key = describe(spec.key, 'output', `${name}.key`)
  const ofKey = key.kind === 'object' ? key.fields : []
  const fields = names.map(field => fieldOf(name, field, state, ofKey))
  return { fields, codec: new KeyCodec(fields, false, `${name}.index`) }
}

function fieldOf(projection: string, name: string, state: readonly Field[], key: readonly Field[]): IndexField {
  const found = state.find(field => field.name === name)
  const field = found ?? key.find(field => field.name === name)
  if (field === undefined) {
    throw fail('DEFINITION_INVALID', `${projection}.index: there is no field '${name}'`, {
      detail: `the state has ${state.map(each => each.name).join(', ')}`,
    })
  }
  const nullable = field.type.kind === 'nullable'
  const type = field.type.kind === 'nullable' ? field.type.inner : field.type
  if (!INDEXABLE.has(type.kind)) {
    throw fail('DEFINITION_INVALID', `${projection}.index: '${name}' cannot be put in order`, {
      detail: `its type is ${type.kind}`,
      hint: 'an index is of numbers, bigints, booleans, strings, enums and dates, which may be null',
    })
  }
  return { name, type, nullable, ofKey: found === undefined }
}
