// Whether a column's type reaches the contract without loss. Single values that do not fit are parked when they come;
// what is refused here could never be right, or would silently round.
import type { z } from 'zod'
import { defOf, describe, minorUnitsOf, type ValueType } from '../../core/index.ts'
import { coreOf } from '../connector/columns.ts'
import { acceptsSample, type Lossy, type TypeProblem, typeProblems } from '../connector/contract-columns.ts'
import { inputOf } from './columns.ts'
import type { PgType } from './types.ts'

/** The problem of a column's contract, if it has one. */
export function checkType(type: PgType, schema: z.ZodType): TypeProblem | undefined {
  const { core } = coreOf(schema)
  const want = describe(core, 'input')
  const { lossy, mismatch } = typeProblems(suggest(type))
  const units = minorUnitsOf(core)
  if (units) return checkUnits(type, units.scale, lossy, mismatch)
  switch (want.kind) {
    case 'string':
      return want.format && !acceptsSample(SAMPLES[type.class], core, inputOf(type, want)) ? mismatch : undefined
    case 'json':
      return undefined
    case 'enum':
      return type.class === 'enum' || type.class === 'text' || type.class === 'other' ? undefined : mismatch
    case 'array':
      if (type.class === 'json') return undefined
      if (type.class !== 'array' || !type.element) return mismatch
      return checkElement(type, type.element, core)
    case 'nullable':
      return undefined
    default:
      return checkScalar(type, want, lossy, mismatch)
  }
}

function checkUnits(type: PgType, scale: number, lossy: Lossy, mismatch: TypeProblem): TypeProblem | undefined {
  if (type.class === 'int2' || type.class === 'int4' || type.class === 'int8') return undefined
  if (type.class !== 'numeric') return mismatch
  return (type.scale ?? 0) > scale ? lossy(`has ${type.scale} digits after the point`) : undefined
}

function checkElement(type: PgType, element: PgType, schema: z.ZodType): TypeProblem | undefined {
  const { element: inner } = defOf(schema)
  if (!inner) return undefined
  const { core } = coreOf(inner)
  // int[][] is int[] to PostgreSQL.
  return checkType(describe(core, 'input').kind === 'array' ? type : element, inner)
}

const INTEGERS = new Set(['int2', 'int4', 'int8', 'oid'])

function checkScalar(type: PgType, want: ValueType, lossy: Lossy, mismatch: TypeProblem): TypeProblem | undefined {
  const integer = INTEGERS.has(type.class)
  switch (want.kind) {
    case 'int32':
    case 'int':
    case 'bigint':
      if (integer) return undefined
      if (type.class !== 'numeric') return mismatch
      return type.scale !== undefined && type.scale <= 0 ? undefined : lossy('has digits after the point')
    case 'float':
      if (type.class === 'float4' || type.class === 'float8') return undefined
      if (type.class === 'numeric' || type.class === 'int8') return lossy('would be rounded')
      return integer ? undefined : mismatch
    case 'boolean':
      return type.class === 'bool' ? undefined : mismatch
    case 'date':
      return type.class === 'timestamptz' || type.class === 'timestamp' ? undefined : mismatch
    case 'bytes':
      return type.class === 'bytea' ? undefined : mismatch
    default:
      return type.class === 'json' ? undefined : mismatch
  }
}

/** Values that a column of the type may hold, as PostgreSQL writes them. */
const SAMPLES: Readonly<Partial<Record<PgType['class'], string>>> = {
  date: '2024-02-29',
  timestamp: '2024-02-29 12:34:56',
  timestamptz: '2024-02-29 12:34:56+00',
  time: '12:34:56',
  uuid: '7d2c6f3a-5b1e-4f0a-9c3d-2b8a1e6f4d10',
  bool: 't',
  int2: '1',
  int4: '1',
  int8: '1',
  bytea: '\\x00',
  json: '{}',
}

/** The zod expression for a column's type, without its nullability: exact for every value the column can hold. */
export function suggest(type: PgType): string {
  switch (type.class) {
    case 'int2':
    case 'int4':
      return 'z.int32()'
    case 'oid':
      return 'z.int()'
    case 'int8':
      return 'z.bigint()'
    case 'numeric':
      return suggestNumeric(type)
    case 'float4':
    case 'float8':
      return 'z.number()'
    case 'bool':
      return 'z.boolean()'
    case 'uuid':
      return 'z.guid()'
    case 'json':
      return 'z.json()'
    case 'date':
      return 'z.iso.date()'
    case 'timestamp':
      return 'z.iso.datetime({ local: true })'
    case 'timestamptz':
      return 'z.iso.datetime()'
    case 'bytea':
      return 'z.instanceof(Uint8Array)'
    case 'enum':
      return type.labels && type.labels.length > 0 ? `z.enum([${type.labels.map(quote).join(', ')}])` : 'z.string()'
    case 'array':
      return type.element ? `z.array(${suggest(type.element)}.nullable())` : 'z.string()'
    default:
      return 'z.string()'
  }
}

/** Doubles hold 15 decimal digits exactly; 30 is the most that minorUnits takes. */
function suggestNumeric({ precision, scale }: PgType): string {
  if (precision === undefined || scale === undefined || scale > 30) return 'z.string()'
  const units = Math.max(scale, 0)
  return precision <= 15 && scale >= 0 ? `minorUnits(${units})` : `minorUnits(${units}, { bigint: true })`
}

const quote = (text: string): string => `'${text.replace(/[\\']/g, '\\$&').replace(/\n/g, '\\n')}'`
