// All problems of a source are found before the first is reported, so that one run names them all.
import { fail, type MainstemError } from '../../core/index.ts'

/** @throws the first; `data.problems` holds all of them */
export function throwProblems(problems: readonly MainstemError[]): void {
  const first = problems[0]
  if (!first) return
  if (problems.length === 1) throw first
  const list = problems.map(({ code, message, detail, hint }) => ({ code, message, detail, hint }))
  const others = problems.slice(1).map(each => `${each.code} ${each.message}${each.detail ? ` (${each.detail})` : ''}`)
  throw fail(first.code, first.message, {
    detail: [first.detail, `and ${others.length} more: ${others.join('; ')}`].filter(Boolean).join('; '),
    ...(first.hint ? { hint: first.hint } : {}),
    data: { problems: list },
  })
}
