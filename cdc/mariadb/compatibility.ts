// Whether a column's type reaches the contract without loss. Single values that do not fit are parked when they come;
// what is refused here could never be right, or would silently round.
import type { z } from 'zod'
import { describe, minorUnitsOf, type ValueType } from '../../core/index.ts'
import { coreOf } from '../connector/columns.ts'
import { acceptsSample, type Lossy, type TypeProblem, typeProblems } from '../connector/contract-columns.ts'
import { decoderOf } from './charsets.ts'
import { inputOf } from './columns.ts'
import type { ColumnType } from './types.ts'

const TEXTS = new Set(['text', 'enum', 'set'])

/** The problem of a column's contract, if it has one. */
export function checkType(type: ColumnType, schema: z.ZodType): TypeProblem | undefined {
  if (TEXTS.has(type.class) && !decoderOf(type.charset)) {
    return {
      code: 'CONTRACT_TYPE_MISMATCH',
      what: `is in the character set ${type.charset}, which cannot be read here`,
      hint: 'convert the column to utf8mb4',
    }
  }
  const { core } = coreOf(schema)
  const want = describe(core, 'input')
  const { lossy, mismatch } = typeProblems(suggest(type))
  const units = minorUnitsOf(core)
  if (units) {
    if (type.class === 'int') return undefined
    if (type.class !== 'decimal') return mismatch
    return type.scale > units.scale ? lossy(`has ${type.scale} digits after the point`) : undefined
  }
  switch (want.kind) {
    case 'string':
      return want.format && !acceptsSample(SAMPLES[type.class], core, inputOf(type, want)) ? mismatch : undefined
    case 'json':
    case 'nullable':
      return undefined
    case 'enum':
      return TEXTS.has(type.class) || type.class === 'other' ? undefined : mismatch
    case 'array':
      return type.class === 'json' || type.class === 'text' || type.class === 'set' ? undefined : mismatch
    default:
      return checkScalar(type, want, lossy, mismatch)
  }
}

function checkScalar(type: ColumnType, want: ValueType, lossy: Lossy, mismatch: TypeProblem): TypeProblem | undefined {
  switch (want.kind) {
    case 'int32':
    case 'int':
    case 'bigint':
      if (type.class === 'int' || type.class === 'bit' || type.class === 'year') return undefined
      if (type.class !== 'decimal') return mismatch
      return type.scale === 0 ? undefined : lossy('has digits after the point')
    case 'float':
      if (type.class === 'float' || type.class === 'double' || type.class === 'year') return undefined
      if (type.class === 'decimal' || (type.class === 'int' && type.size === 8)) return lossy('would be rounded')
      return type.class === 'int' ? undefined : mismatch
    case 'boolean':
      return type.boolean || (type.class === 'int' && type.size === 1) ? undefined : mismatch
    case 'date':
      return type.class === 'datetime' || type.class === 'timestamp' ? undefined : mismatch
    case 'bytes':
      return type.class === 'binary' ? undefined : mismatch
    default:
      return type.class === 'json' || type.class === 'text' ? undefined : mismatch
  }
}

/** Values that a column of the type may hold. */
const SAMPLES: Readonly<Partial<Record<ColumnType['class'], string>>> = {
  date: '2024-02-29',
  datetime: '2024-02-29 12:34:56',
  timestamp: '2024-02-29 12:34:56',
  time: '12:34:56',
  uuid: '7d2c6f3a-5b1e-4f0a-9c3d-2b8a1e6f4d10',
  int: '1',
  binary: '\\x00',
  json: '{}',
}

/** The zod expression for a column's type, without its nullability: exact for every value the column can hold. */
export function suggest(type: ColumnType): string {
  switch (type.class) {
    case 'int':
      if (type.boolean) return 'z.boolean()'
      if (type.size === 8) return 'z.bigint()'
      return type.size === 4 && type.unsigned ? 'z.int()' : 'z.int32()'
    case 'year':
      return 'z.int32()'
    case 'bit':
      return type.boolean ? 'z.boolean()' : type.size <= 53 ? 'z.int()' : 'z.bigint()'
    case 'decimal':
      // Doubles hold 15 decimal digits exactly; 30 is the most that minorUnits takes.
      if (type.scale > 30) return 'z.string()'
      return type.size <= 15 ? `minorUnits(${type.scale})` : `minorUnits(${type.scale}, { bigint: true })`
    case 'float':
    case 'double':
      return 'z.number()'
    case 'uuid':
      return 'z.guid()'
    case 'json':
      return 'z.json()'
    case 'date':
      return 'z.iso.date()'
    case 'datetime':
      return 'z.iso.datetime({ local: true })'
    case 'timestamp':
      return 'z.iso.datetime()'
    case 'binary':
      return 'z.instanceof(Uint8Array)'
    case 'enum':
      return type.labels.length > 0 ? `z.enum([${type.labels.map(quote).join(', ')}])` : 'z.string()'
    case 'set':
      return type.labels.length > 0 ? `z.array(z.enum([${type.labels.map(quote).join(', ')}]))` : 'z.string()'
    default:
      return 'z.string()'
  }
}

const quote = (text: string): string => `'${text.replace(/[\\']/g, '\\$&').replace(/\n/g, '\\n')}'`
