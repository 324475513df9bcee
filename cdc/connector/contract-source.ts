// Tables that exist → the contracts that hold them exactly, as TypeScript: for `mainstem init --from`.

export interface IntrospectedColumn {
  readonly name: string
  /** As the server writes it: `numeric(12,2)`. */
  readonly type: string
  readonly nullable: boolean
  /** The zod expression that holds every value of the column exactly. */
  readonly schema: string
}

export interface IntrospectedTable {
  /** `public` where it needs no name: the schema that tables without one are in, the url's own database. */
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
  return schema.startsWith('z.string()') &&
    !/^(text|character varying|character|(var)?char|(tiny|medium|long)text)/.test(type)
    ? ` // ${type}`
    : ''
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
