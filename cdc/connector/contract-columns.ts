// Whether the columns of a table reach its contract: what is the same for every database, given how it judges a type.
import type { z } from 'zod'
import { type CapturedTable, type ErrorCode, fail, type MainstemError } from '../../core/index.ts'
import { didYouMean } from './did-you-mean.ts'

export interface TypeProblem {
  readonly code: Extract<ErrorCode, 'CONTRACT_TYPE_LOSSY' | 'CONTRACT_TYPE_MISMATCH'>
  readonly what: string
  readonly hint: string
}

export type Lossy = (what: string) => TypeProblem

/** What is said of a type that does not fit, and what to take instead. */
export function typeProblems(suggestion: string): { readonly lossy: Lossy; readonly mismatch: TypeProblem } {
  const hint = `take ${suggestion}`
  return {
    lossy: what => ({ code: 'CONTRACT_TYPE_LOSSY', what, hint }),
    mismatch: { code: 'CONTRACT_TYPE_MISMATCH', what: 'does not hold such values', hint },
  }
}

/**
 * A string format must at least take what the type's values look like. Texts may look like anything.
 * @param sample a value of the type; undefined for texts · @param input from such a text to what the schema takes
 */
export function acceptsSample(
  sample: string | undefined,
  schema: z.ZodType,
  input: (text: string) => unknown,
): boolean {
  if (sample === undefined) return true
  const result = schema.safeParse(input(sample))
  return result.success || !result.error.issues.some(issue => issue.code === 'invalid_format')
}

/** A column as a database's catalog has it. */
export interface NamedColumn<T> {
  readonly name: string
  readonly type: T
}

/**
 * What is wrong with the columns that a contract wants.
 * @param unseen why the changes of a column do not come, where they do not: what the table does not do, and what to do about it
 */
export function checkColumns<T extends { readonly name: string }, C extends NamedColumn<T>>(
  { table, contract }: CapturedTable,
  columns: readonly C[],
  unseen: (column: C) => { readonly does: string; readonly detail: string; readonly hint: string } | undefined,
  checkType: (type: T, schema: z.ZodType) => TypeProblem | undefined,
): MainstemError[] {
  const problems: MainstemError[] = []
  const names = columns.map(column => column.name)
  for (const [name, schema] of Object.entries(contract.schema.shape)) {
    const column = columns.find(candidate => candidate.name === name)
    if (!column) {
      const near = didYouMean(name, names)
      problems.push(
        fail('CONTRACT_COLUMN_MISSING', `${table.name} has no column '${name}'`, {
          detail: `it has ${names.join(', ')}`,
          ...(near ? { hint: `did you mean ${near}?` } : {}),
        }),
      )
      continue
    }
    const hidden = unseen(column)
    if (hidden) {
      const { does, detail, hint } = hidden
      problems.push(
        fail('CONTRACT_COLUMN_MISSING', `${table.name} does not ${does} column '${name}'`, { detail, hint }),
      )
      continue
    }
    const problem = checkType(column.type, schema)
    if (problem) problems.push(doesNotFit(table.name, column, problem))
  }
  return problems
}

/** The error of a column whose type does not reach the contract. */
export const doesNotFit = (
  table: string,
  { name, type }: NamedColumn<{ readonly name: string }>,
  { code, what, hint }: TypeProblem,
): MainstemError =>
  fail(code, `${table}.${name} ${what}`, {
    detail: `the column is ${type.name}, which the contract's type does not hold exactly`,
    hint: `${hint}, or z.string() for the exact text`,
  })
