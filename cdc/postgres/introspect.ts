// Reads the tables that exist and writes the contracts that hold them exactly: for `mainstem init --from`.
import { identityColumns, readAllTables } from './catalog.ts'
import { suggest } from './compatibility.ts'
import { connect } from './connection.ts'

export interface IntrospectedColumn {
  readonly name: string
  /** As PostgreSQL writes it: `numeric(12,2)`. */
  readonly type: string
  readonly nullable: boolean
  /** The zod expression that holds every value of the column exactly. */
  readonly schema: string
}

export interface IntrospectedTable {
  readonly schema: string
  readonly name: string
  /** What identifies a row in updates and deletes; [] where nothing does, and then the table cannot be captured as it is. */
  readonly key: readonly string[]
  readonly columns: readonly IntrospectedColumn[]
  readonly rowsEstimated: number
}

export interface Introspection {
  readonly database: string
  readonly tables: readonly IntrospectedTable[]
}

/** What errors call it: of several databases it should be seen which one is meant, and never with its password. */
function databaseOf(url: string): string {
  const name = URL.canParse(url) ? new URL(url).pathname.slice(1) : ''
  return name || 'database'
}

/** Reads all tables of a database. @throws SOURCE_UNREACHABLE, SOURCE_AUTHENTICATION */
export async function introspect(url: string): Promise<Introspection> {
  const sql = await connect({ source: databaseOf(url), url })
  try {
    const { rows } = await sql.query<{ name: string }>('select current_database()::text as name')
    const tables = await readAllTables(sql)
    return {
      database: rows[0]?.name ?? '',
      tables: tables.map(table => ({
        schema: table.schema,
        name: table.name,
        key: identityColumns(table) ?? table.indexes.find(index => index.primary)?.columns ?? [],
        // Generated columns are not streamed.
        columns: table.columns
          .filter(column => !column.generated)
          .map(column => ({
            name: column.name,
            type: column.type.name,
            nullable: column.nullable,
            schema: suggest(column.type) + (column.nullable ? '.nullable()' : ''),
          })),
        rowsEstimated: table.rowsEstimated,
      })),
    }
  } finally {
    await sql.end().catch(() => {})
  }
}

export interface ContractSource {
  /** The table's declaration: `export const orders = shop.table('orders', { … })`. */
  readonly text: string
  readonly variable: string
  /** True where the declaration uses `minorUnits`, which then has to be imported. */
  readonly usesMinorUnits: boolean
}

/**
 * A table's contract as TypeScript source; undefined where the table has no key.
 * @param variable the source's name in that code: `shop`
 */
export function contractSource(table: IntrospectedTable, variable: string): ContractSource | undefined {
  if (table.key.length === 0) return undefined
  const name = table.schema === 'public' && !table.name.includes('.') ? table.name : `${table.schema}.${table.name}`
  const key = table.key.length === 1 ? quote(table.key[0] ?? '') : `[${table.key.map(quote).join(', ')}]`
  const columns = table.columns.map(column => `    ${propertyName(column.name)}: ${column.schema},${comment(column)}`)
  const constant = variableName(table.schema === 'public' ? table.name : `${table.schema}_${table.name}`)
  const text = [
    `export const ${constant} = ${variable}.table(${quote(name)}, {`,
    `  key: ${key},`,
    '  row: z.object({',
    ...columns,
    '  }),',
    '})',
  ].join('\n')
  return {
    text,
    variable: constant,
    usesMinorUnits: table.columns.some(column => column.schema.includes('minorUnits(')),
  }
}

const quote = (text: string): string => `'${text.replace(/[\\']/g, '\\$&').replace(/\n/g, '\\n')}'`
const propertyName = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : quote(name))

/** Types whose expression does not say what they are. */
function comment({ type, schema }: IntrospectedColumn): string {
  if (/^z\.(iso\.datetime\(\)|json\(\))/.test(schema)) return ` // ${type}`
  return schema.startsWith('z.string()') && !/^(text|character varying|character)/.test(type) ? ` // ${type}` : ''
}

const RESERVED = new Set(
  'await break case catch class const continue debugger default delete do else enum export extends false finally for function if implements import in instanceof interface let new null package private protected public return static super switch this throw true try typeof var void while with yield z'.split(
    ' ',
  ),
)

/** order_lines → orderLines; anything that cannot be a name gets an underscore. */
export function variableName(name: string): string {
  const camel = name
    .replace(/[^A-Za-z0-9_$]+/g, '_')
    .replace(/_+([A-Za-z0-9])/g, (_, letter: string) => letter.toUpperCase())
    .replace(/_+$/, '')
  const lower = camel.charAt(0).toLowerCase() + camel.slice(1)
  return lower === '' || /^\d/.test(lower) || RESERVED.has(lower) ? `_${lower}` : lower
}
