// `mainstem init [folder] [--from URL…]`: writes an application that runs. With `--from`, its contracts come from the tables
// that exist, and each table gets a view by its primary key, to be changed into what is wanted.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { fail } from '../../core/index.ts'
import { type DatabaseApplication, databaseApplication, type ScaffoldedSource } from './init-database.ts'

interface InitFlags {
  readonly from?: string[]
  readonly schema: string[]
  readonly install: boolean
  readonly json?: boolean
}

/** The folder of this package: where its own package.json is. */
const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

export function addInit(program: Command): void {
  program
    .command('init')
    .description('write an application that runs, empty or from the tables of a database')
    .argument('[folder]', 'where to write it; made where missing, must be empty', '.')
    .option('--from <url...>', 'PostgreSQL, MariaDB or MySQL databases whose tables become contracts')
    .option('--schema <names...>', 'the schemas of PostgreSQL whose tables are taken', ['public'])
    .option('--no-install', 'do not run npm install')
    .option('--json', 'print what was written as one JSON object')
    .addHelpText('after', '\nExample:\n  mainstem init truth --from postgres://me@localhost/shop')
    .action(init)
}

async function init(folder: string, flags: InitFlags): Promise<void> {
  const root = resolve(folder)
  const name =
    basename(root)
      .replaceAll(/[^A-Za-z0-9_-]/g, '-')
      .replace(/^[^A-Za-z_]+/, '') || 'app'
  checkEmpty(root)
  const sources = flags.from ? await readSources(flags.from, flags.schema) : []
  const database = sources.length > 0 ? databaseApplication(name, sources) : undefined
  const files = {
    'app.ts': database?.text ?? helloApplication(name),
    'package.json': `${JSON.stringify(manifest(name, root), null, 2)}\n`,
    'tsconfig.json': `${JSON.stringify(TSCONFIG, null, 2)}\n`,
    '.gitignore': 'node_modules\n.mainstem\n.env\n',
    ...(sources.length > 0 ? { '.env': sources.map(source => `${source.setting}=${source.url}\n`).join('') } : {}),
  }
  mkdirSync(root, { recursive: true })
  for (const [file, text] of Object.entries(files)) {
    // `.env` holds passwords: for its owner only, and never in git.
    writeFileSync(join(root, file), text, { mode: file === '.env' ? 0o600 : 0o644 })
  }
  const installed = flags.install && install(root)
  report({ root, files: Object.keys(files), database, flags, installed })
}

function checkEmpty(root: string): void {
  if (existsSync(root) && readdirSync(root).some(entry => entry !== '.git')) {
    throw fail('DATA_DIR_INVALID', `${root} is not empty`, { hint: 'give a new folder: mainstem init NAME' })
  }
}

/** Each database under its own name; the same name twice gets a number. */
async function readSources(urls: readonly string[], schemas: readonly string[]): Promise<ScaffoldedSource[]> {
  const taken = new Set<string>()
  const sources: ScaffoldedSource[] = []
  for (const url of urls) {
    const { technology, database, tables } = await readDatabase(url)
    const wanted = tables.filter(table => schemas.includes(table.schema))
    if (wanted.length === 0) throw noTables(database, tables, schemas)
    const base = database.replaceAll(/[^A-Za-z0-9_]/g, '_').replace(/^[^A-Za-z_]+/, '') || 'database'
    let name = base
    for (let n = 2; taken.has(name); n++) name = `${base}${n}`
    taken.add(name)
    sources.push({
      technology,
      name,
      setting: `${name.toUpperCase()}_URL`,
      url,
      tables: wanted,
    })
  }
  return sources
}

async function readDatabase(url: string) {
  const { introspect, introspectMariadb } = await import('../../cdc/index.ts')
  if (/^(mariadb|mysql):/i.test(url)) return introspectMariadb(url)
  return { technology: 'postgres' as const, ...(await introspect(url)) }
}

function noTables(database: string, tables: readonly { readonly schema: string }[], schemas: readonly string[]) {
  const others = [...new Set(tables.map(table => table.schema))].join(' ')
  return fail('CONTRACT_TABLE_MISSING', `database ${database} has no tables in ${schemas.join(', ')}`, {
    detail: others ? `it has tables in ${others.replaceAll(' ', ', ')}` : 'it has none in other schemas either',
    ...(others ? { hint: `mainstem init … --schema ${others}` } : {}),
  })
}

function manifest(name: string, root: string): object {
  const own = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string
    dependencies: { zod: string }
  }
  // From a checkout the application uses that checkout; from an installed package, that version.
  const fromCheckout = !packageRoot.split(/[/\\]/).includes('node_modules')
  return {
    name: name.toLowerCase(),
    private: true,
    type: 'module',
    scripts: { start: 'mainstem run app.ts', check: 'tsc --noEmit' },
    dependencies: {
      mainstem: fromCheckout ? `file:${relative(root, packageRoot) || '.'}` : `^${own.version}`,
      zod: own.dependencies.zod,
    },
  }
}

const TSCONFIG = {
  compilerOptions: {
    target: 'es2024',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    erasableSyntaxOnly: true,
    allowImportingTsExtensions: true,
    noEmit: true,
    skipLibCheck: true,
  },
  include: ['*.ts'],
}

function helloApplication(name: string): string {
  return `// Run it: npx mainstem run app.ts
// Append: curl -d '{"customer":"ada","cents":1250}' localhost:7070/v1/topics/purchases
// Read:   curl localhost:7070/v1/views/spending/rows/ada
import { application, projection, topic } from 'mainstem'
import { z } from 'zod'

export const purchases = topic('purchases', {
  key: 'customer',
  value: z.object({ customer: z.string(), cents: z.int() }),
})

export const spending = projection('spending', {
  key: z.string(),
  state: z.object({ count: z.int32(), cents: z.int() }),
}).on(purchases, 'customer', (spent, purchase) => {
  spent.count++
  spent.cents += purchase.cents
})

export default application('${name}', { views: [spending] })
`
}

function install(root: string): boolean {
  const { status } = spawnSync('npm', ['install', '--no-fund', '--no-audit'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return status === 0
}

interface Report {
  readonly root: string
  readonly files: readonly string[]
  readonly database: DatabaseApplication | undefined
  readonly flags: InitFlags
  readonly installed: boolean
}

function report({ root, files, database, flags, installed }: Report): void {
  const { tables = [], left = [] } = database ?? {}
  if (flags.json) {
    console.log(JSON.stringify({ folder: root, files, tables, withoutKey: left, installed }))
    return
  }
  console.log(`  wrote ${files.join(', ')} to ${root}`)
  if (database) console.log(`  contracts of ${tables.length} tables: change what you know better`)
  if (left.length > 0) console.log(`  without a key, left out: ${left.join(', ')}`)
  if (flags.install && !installed) console.log('  npm install failed: run it there yourself')
  const where = relative(process.cwd(), root)
  console.log(`  next: ${where ? `cd ${where} && ` : ''}npx mainstem run app.ts`)
}
