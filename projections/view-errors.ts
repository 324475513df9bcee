// How a view says what stopped it.
import { type AnyRow, asMainstemError, fail, type MainstemError } from '../core/index.ts'
import type { HandlerContext } from './handler-context.ts'
import type { FoldedView } from './view.ts'

/** A handler's error, with where it was. */
export function failureOf(view: FoldedView, { row, key, info }: HandlerContext, error: unknown): MainstemError {
  const cause = asMainstemError(error, 'HANDLER_FAILED', 'a handler threw')
  const where = `${view.describeHandler()}, position ${info.position}`
  return fail(cause.code, cause.message, {
    detail: `${where}${row >= 0 ? `, key ${view.key.format(key)}` : ''}${cause.detail ? `: ${cause.detail}` : ''}`,
    hint: cause.hint ?? 'mend the projection and start again: it is rebuilt then',
    cause: error,
  })
}

/** The last row of a table left a row of the view that is not what it was at first. */
export function notInverse({ name, key, table }: FoldedView, row: number, position: number): MainstemError {
  const at = `at position ${position}`
  const detail =
    table.support(row) < 0
      ? `more rows left than came, ${at}`
      : `its last row left ${at} and it holds ${preview(table.toObject(row))}`
  const text = key.format(table.keyOf(row))
  return fail('PROJECTION_REMOVE_NOT_INVERSE', `${name}[${text}] did not return to its initial value`, { detail })
}

/** What stops the views that fold one which has stopped. */
export const stoppedBelow = (name: string, { code, message, detail }: MainstemError): MainstemError =>
  fail(code, `view '${name}', which this one folds, has stopped: ${message}`, { ...(detail ? { detail } : {}) })

const preview = (state: AnyRow): string =>
  JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)).slice(0, 200)
