// PostgreSQL's column types as far as a contract can tell them apart; everything else is its exact text.
import type { Client } from './connection.ts'

export type TypeClass =
  | 'int2'
  | 'int4'
  | 'int8'
  | 'oid'
  | 'numeric'
  | 'float4'
  | 'float8'
  | 'bool'
  | 'text'
  | 'json'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'uuid'
  | 'bytea'
  | 'enum'
  | 'array'
  | 'other'

export interface PgType {
  readonly class: TypeClass
  /** As PostgreSQL writes it, for messages: `numeric(12,2)`, `text[]`. */
  readonly name: string
  /** numeric only; undefined where unconstrained. */
  readonly precision?: number
  readonly scale?: number
  /** enum only. */
  readonly labels?: readonly string[]
  /** array only. */
  readonly element?: PgType
}

const BY_NAME: Readonly<Record<string, TypeClass>> = {
  int2: 'int2',
  int4: 'int4',
  int8: 'int8',
  oid: 'oid',
  numeric: 'numeric',
  float4: 'float4',
  float8: 'float8',
  bool: 'bool',
  text: 'text',
  varchar: 'text',
  bpchar: 'text',
  name: 'text',
  json: 'json',
  jsonb: 'json',
  date: 'date',
  time: 'time',
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
  uuid: 'uuid',
  bytea: 'bytea',
}

/** A row of pg_type. */
interface TypeRow {
  readonly oid: string
  readonly name: string
  readonly schema: string
  readonly kind: string
  readonly base: string
  readonly base_modifier: number
  readonly element: string
  readonly is_array: boolean
  readonly labels: string[] | null
}

export interface TypeRef {
  readonly typeId: number
  readonly modifier: number
  readonly name: string
}

/** Domains over arrays over domains … end somewhere. */
const DEPTH_MAX = 8

/** Reads the types with these ids, and those that they are made of. Gives a function that resolves a column's type. */
export async function loadTypes(client: Client, typeIds: readonly number[]): Promise<(ref: TypeRef) => PgType> {
  const known = new Map<string, TypeRow>()
  let missing = [...new Set(typeIds.map(String))]
  for (let depth = 0; depth < DEPTH_MAX && missing.length > 0; depth++) {
    const { rows } = await client.query<TypeRow>(
      `select t.oid::text, t.typname::text as name, n.nspname::text as schema, t.typtype::text as kind,
              t.typbasetype::text as base, t.typtypmod as base_modifier, t.typelem::text as element,
              t.typcategory = 'A' and t.typelem <> 0 and t.typlen = -1 and t.typdelim = ','
                and t.typname not in ('int2vector', 'oidvector') as is_array,
              (select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid) as labels
         from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = any($1::oid[])`,
      [missing],
    )
    for (const row of rows) known.set(row.oid, row)
    const next = rows.flatMap(row => (row.is_array ? [row.element] : row.kind === 'd' ? [row.base] : []))
    missing = [...new Set(next)].filter(id => !known.has(id))
  }
  return ref => resolveType(known, String(ref.typeId), ref.modifier, ref.name)
}

function resolveType(known: ReadonlyMap<string, TypeRow>, typeId: string, modifier: number, name: string): PgType {
  const row = known.get(typeId)
  if (!row) return { class: 'other', name }
  if (row.kind === 'd') return { ...resolveType(known, row.base, row.base_modifier, name), name }
  if (row.kind === 'e') return { class: 'enum', name, labels: row.labels ?? [] }
  if (row.is_array) {
    return { class: 'array', name, element: resolveType(known, row.element, modifier, name.replace(/\[\]$/, '')) }
  }
  // Only the built-in types: a type of the user's own may bear any name.
  const typeClass = (row.schema === 'pg_catalog' ? BY_NAME[row.name] : undefined) ?? 'other'
  if (typeClass !== 'numeric' || modifier < 4) return { class: typeClass, name }
  const packed = modifier - 4
  return { class: 'numeric', name, precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 0x400) - 0x400 }
}
