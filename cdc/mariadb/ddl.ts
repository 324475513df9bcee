// Statements in the binary log: what they do to whole tables. Row events say nothing of it.
import type { ColumnRename } from '../connector/technology.ts'
import type { TableName } from './setup.ts'

export type Statement =
  | { readonly kind: 'begin' | 'commit' | 'rollback' | 'savepoint' | 'other' }
  | { readonly kind: 'xa-start' | 'xa-end' | 'xa-commit' | 'xa-rollback'; readonly xid: string }
  /** All rows are gone; a table made anew has none. */
  | { readonly kind: 'emptied'; readonly tables: readonly TableName[] }
  | { readonly kind: 'database-dropped'; readonly database: string }
  /** Columns may have changed. `rows`: in a way that changes rows without row events · `columns`: those that have another name. */
  | {
      readonly kind: 'altered'
      readonly table: TableName
      readonly rows: string | undefined
      readonly columns: readonly ColumnRename[]
    }
  | { readonly kind: 'renamed'; readonly from: readonly TableName[]; readonly to: readonly TableName[] }
  /** Rows were changed by this statement itself, not by row events. */
  | { readonly kind: 'written' }

const TOKEN =
  /\s+|\/\*!\d*|\*\/|\/\*[\s\S]*?\*\/|--[^\n]*|#[^\n]*|`(?:[^`]|``)*`|"(?:[^"]|"")*"|'(?:[^'\\]|''|\\.)*'|[\p{L}\p{N}_$]+|[\s\S]/gu
const IGNORED = /^(\s|\/\*|\*\/|--|#)/
/** What is decided stands at the beginning; lists of columns may be long. */
const TOKENS_MAX = 2_000

function tokensOf(sql: string): string[] {
  const tokens: string[] = []
  for (const [token] of sql.matchAll(TOKEN)) {
    if (tokens.length === TOKENS_MAX) break
    if (!IGNORED.test(token)) tokens.push(token)
  }
  return tokens
}

class Reader {
  readonly #tokens: readonly string[]
  readonly #database: string
  #at = 0

  constructor(sql: string, database: string) {
    this.#tokens = tokensOf(sql)
    this.#database = database
  }

  /** What follows, without what stands in quotes. */
  get rest(): string {
    return this.#tokens
      .slice(this.#at)
      .map(token => (/^['"`]/.test(token) ? '?' : token))
      .join(' ')
  }

  get text(): string {
    return this.#tokens.slice(this.#at).join('')
  }

  /** Steps over the words if they come next. */
  skip(...words: readonly string[]): boolean {
    if (!words.every((word, n) => this.#tokens[this.#at + n]?.toUpperCase() === word)) return false
    this.#at += words.length
    return true
  }

  #name(): string {
    const token = this.#tokens[this.#at++] ?? ''
    const quote = token[0]
    return quote === '`' || quote === '"' ? token.slice(1, -1).replaceAll(quote + quote, quote) : token
  }

  table(): TableName {
    const first = this.#name()
    if (this.#tokens[this.#at] !== '.') return { database: this.#database, name: first }
    this.#at++
    return { database: first, name: this.#name() }
  }

  name(): string {
    return this.#name()
  }

  /** What `RENAME COLUMN a TO b` and `CHANGE a b …` say in what follows. */
  renamedColumns(): ColumnRename[] {
    const renamed: ColumnRename[] = []
    while (this.#at < this.#tokens.length) {
      const isRename = this.skip('RENAME', 'COLUMN')
      if (!isRename && !this.skip('CHANGE')) {
        this.#at++
        continue
      }
      if (!isRename) this.skip('COLUMN')
      this.skip('IF', 'EXISTS')
      const from = this.#name()
      if (isRename && !this.skip('TO')) continue
      const to = this.#name()
      if (to !== from) renamed.push({ from, to })
    }
    return renamed
  }

  /** Tables with commas between. */
  list(): TableName[] {
    const tables = [this.table()]
    while (this.skip(',')) tables.push(this.table())
    return tables
  }
}

const OTHER: Statement = { kind: 'other' }

/** @param database the one that names without one belong to */
export function readStatement(sql: string, database: string): Statement {
  const reader = new Reader(sql, database)
  if (reader.skip('BEGIN') || reader.skip('START')) return { kind: 'begin' }
  if (reader.skip('COMMIT')) return { kind: 'commit' }
  if (reader.skip('ROLLBACK')) return { kind: reader.skip('TO') ? 'savepoint' : 'rollback' }
  if (reader.skip('SAVEPOINT')) return { kind: 'savepoint' }
  if (reader.skip('XA')) return readXa(reader)
  if (reader.skip('TRUNCATE')) {
    reader.skip('TABLE')
    return { kind: 'emptied', tables: [reader.table()] }
  }
  if (reader.skip('DROP')) return readDrop(reader)
  if (reader.skip('CREATE')) return readCreate(reader)
  if (reader.skip('ALTER')) return readAlter(reader)
  if (reader.skip('RENAME')) return readRename(reader)
  if (/^(INSERT|UPDATE|DELETE|REPLACE|LOAD|WITH)\b/i.test(reader.rest)) return { kind: 'written' }
  return OTHER
}

function readXa(reader: Reader): Statement {
  const kinds = { START: 'xa-start', END: 'xa-end', COMMIT: 'xa-commit', ROLLBACK: 'xa-rollback' } as const
  for (const [word, kind] of Object.entries(kinds)) if (reader.skip(word)) return { kind, xid: reader.text }
  return OTHER
}

function readDrop(reader: Reader): Statement {
  if (reader.skip('TABLE') || reader.skip('TABLES')) {
    reader.skip('IF', 'EXISTS')
    return { kind: 'emptied', tables: reader.list() }
  }
  if (!reader.skip('DATABASE') && !reader.skip('SCHEMA')) return OTHER
  reader.skip('IF', 'EXISTS')
  return { kind: 'database-dropped', database: reader.name() }
}

function readCreate(reader: Reader): Statement {
  const replaces = reader.skip('OR', 'REPLACE')
  if (!reader.skip('TABLE')) return OTHER
  // A table that is there stays as it is.
  if (reader.skip('IF', 'NOT', 'EXISTS') && !replaces)
    return { kind: 'altered', table: reader.table(), rows: undefined, columns: [] }
  return { kind: 'emptied', tables: [reader.table()] }
}

/** Partitions that are dropped, emptied or exchanged take their rows with them. */
const PARTITION = /\b(DROP|TRUNCATE|EXCHANGE|DISCARD|IMPORT|CONVERT) (?:PARTITION|TABLE|TABLESPACE)\b/i

function readAlter(reader: Reader): Statement {
  reader.skip('ONLINE')
  reader.skip('IGNORE')
  if (!reader.skip('TABLE')) return OTHER
  reader.skip('IF', 'EXISTS')
  const table = reader.table()
  const { rest } = reader
  const renamed = /\bRENAME (?:TO |AS |= )?(?!COLUMN\b|INDEX\b|KEY\b|CONSTRAINT\b)(\S+)/i.exec(rest)
  if (renamed) return { kind: 'renamed', from: [table], to: [] }
  const partition = PARTITION.exec(rest)
  return { kind: 'altered', table, rows: partition?.[0], columns: reader.renamedColumns() }
}

function readRename(reader: Reader): Statement {
  if (!reader.skip('TABLE') && !reader.skip('TABLES')) return OTHER
  reader.skip('IF', 'EXISTS')
  const from: TableName[] = []
  const to: TableName[] = []
  do {
    from.push(reader.table())
    reader.skip('WAIT', '0')
    if (!reader.skip('TO')) return OTHER
    to.push(reader.table())
  } while (reader.skip(','))
  return { kind: 'renamed', from, to }
}
