// The application that `init --from` writes: the contracts of the tables that exist, and for each table a view of its rows
// by key, as a beginning.
import {
  type ContractSource,
  contractSource,
  type IntrospectedColumn,
  type IntrospectedTable,
  variableName,
} from '../../cdc/index.ts'

export interface ScaffoldedSource {
  readonly technology: 'postgres' | 'mariadb' | 'mysql'
  /** The name in `postgres(name, …)`. */
  readonly name: string
  /** The environment variable that holds its URL. */
  readonly setting: string
  readonly url: string
  readonly tables: readonly IntrospectedTable[]
}

interface Declared {
  readonly source: ScaffoldedSource
  readonly table: IntrospectedTable
  readonly contract: ContractSource
  /** The table's constant: unique in the file. */
  readonly constant: string
  readonly view: string
}

export interface DatabaseApplication {
  readonly text: string
  /** Tables with a key: those that became contracts. */
  readonly tables: readonly string[]
  /** Tables without one. */
  readonly left: readonly string[]
}

export function databaseApplication(name: string, sources: readonly ScaffoldedSource[]): DatabaseApplication {
  const constants = new Constants()
  const variables = new Map(sources.map(source => [source, constants.take(source.name, 'database')]))
  const declared = sources.flatMap(source => declareTables(source, variables.get(source) ?? source.name, constants))
  const left = sources.flatMap(source =>
    source.tables.filter(table => table.key.length === 0).map(table => `${source.name}.${table.name}`),
  )
  const usesMinorUnits = declared.some(({ contract }) => contract.usesMinorUnits)
  const text = [
    '// Written by `mainstem init`: the contracts say what stands in the tables; the views are a beginning, change them.',
    '// Run it: npx mainstem run app.ts',
    `import { application, env, ${usesMinorUnits ? 'minorUnits, ' : ''}projection } from 'mainstem'`,
    ...importsOf(sources),
    "import { z } from 'zod'",
    '',
    ...sources.map(
      source =>
        `export const ${variables.get(source)} = ${source.technology}('${source.name}', { url: env('${source.setting}') })`,
    ),
    '',
    ...declared.flatMap(({ contract, constant }) => [
      contract.text.replace(`const ${contract.variable} `, `const ${constant} `),
      '',
    ]),
    ...left.map(table => `// ${table} has no key that changes name a row by: give it a primary key.\n`),
    ...declared.flatMap(each => [viewSource(each), '']),
    `export default application('${name}', {`,
    `  views: [${declared.map(each => viewConstant(each)).join(', ')}],`,
    '})',
    '',
  ].join('\n')
  return { text, tables: declared.map(({ source, table }) => `${source.name}.${table.name}`), left }
}

/** MariaDB and MySQL stand behind one subpath. */
function importsOf(sources: readonly ScaffoldedSource[]): string[] {
  const technologies = new Set(sources.map(source => source.technology))
  const ofMariadb = (['mariadb', 'mysql'] as const).filter(name => technologies.has(name))
  return [
    ...(ofMariadb.length > 0 ? [`import { ${ofMariadb.join(', ')} } from 'mainstem/mariadb'`] : []),
    ...(technologies.has('postgres') ? ["import { postgres } from 'mainstem/postgres'"] : []),
  ]
}

/** The names of a file, each given once. */
class Constants {
  readonly #taken = new Set(['application', 'env', 'minorUnits', 'projection', 'postgres', 'mariadb', 'mysql', 'z'])

  /** The name itself, else with `prefix`, else with a number. A table's constant and its view's are taken together. */
  take(name: string, prefix: string): string {
    const wanted = variableName(name)
    const longer = variableName(`${prefix}_${name}`)
    let free = this.#isFree(wanted) ? wanted : longer
    for (let n = 2; !this.#isFree(free); n++) free = `${longer}${n}`
    this.#taken.add(free).add(`${free}Rows`)
    return free
  }

  #isFree(name: string): boolean {
    return !this.#taken.has(name) && !this.#taken.has(`${name}Rows`)
  }
}

function declareTables(source: ScaffoldedSource, variable: string, constants: Constants): Declared[] {
  return source.tables.flatMap(table => {
    const contract = contractSource(table, variable)
    if (!contract) return []
    const constant = constants.take(contract.variable, source.name)
    return [{ source, table, contract, constant, view: constant.replaceAll('$', '_') }]
  })
}

const viewConstant = ({ constant }: Declared): string => `${constant}Rows`

/** A view of a table's rows: `add` puts the columns in, `remove` takes them out. */
function viewSource(declared: Declared): string {
  const { table, constant, view } = declared
  const columns = new Map(table.columns.map(column => [column.name, column]))
  const keys = table.key.map(name => columns.get(name)).filter(column => column !== undefined)
  const rest = table.columns.filter(column => !table.key.includes(column.name))
  const [only] = keys
  const single = keys.length === 1 && only !== undefined
  const key = single
    ? stored(only)
    : `z.object({ ${keys.map(column => `${property(column.name)}: ${stored(column)}`).join(', ')} })`
  const by = single
    ? quote(only.name)
    : `{ ${keys.map(column => `${property(column.name)}: ${quote(column.name)}`).join(', ')} }`
  const state = rest.map(column => `    ${property(column.name)}: ${stored(column)}.nullable(),`)
  return [
    `/** The rows of ${table.name}, by their key. */`,
    `export const ${viewConstant(declared)} = projection('${view}', {`,
    `  key: ${key},`,
    ...(state.length > 0 ? ['  state: z.object({', ...state, '  }),'] : ['  state: z.object({}),']),
    `}).on(${constant}, ${by}, {`,
    ...handler(
      'add',
      rest.length > 0 ? 'state, row' : '',
      rest.map(column => `state${access(column.name)} = row${access(column.name)}`),
    ),
    ...handler(
      'remove',
      rest.length > 0 ? 'state' : '',
      rest.map(column => `state${access(column.name)} = null`),
    ),
    '})',
  ].join('\n')
}

const handler = (name: string, parameters: string, statements: readonly string[]): string[] =>
  statements.length === 0
    ? [`  ${name}: () => {},`]
    : [
        `  ${name}: ${parameters.includes(',') ? `(${parameters})` : parameters} => {`,
        ...statements.map(text => `    ${text}`),
        '  },',
      ]

/** What handlers see of a column: its contract's output, never null. */
function stored(column: IntrospectedColumn): string {
  const schema = column.schema.replace(/\.nullable\(\)$/, '')
  if (schema.startsWith('minorUnits(')) return schema.includes('bigint: true') ? 'z.bigint()' : 'z.int()'
  return schema
}

const isName = (name: string): boolean => /^[A-Za-z_$][\w$]*$/.test(name)
const quote = (text: string): string => `'${text.replace(/[\\']/g, '\\$&').replace(/\n/g, '\\n')}'`
const property = (name: string): string => (isName(name) ? name : quote(name))
const access = (name: string): string => (isName(name) ? `.${name}` : `[${quote(name)}]`)
