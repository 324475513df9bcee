import { fail, type MainstemError } from '../core/index.ts'

/** The error of whoever asks for a view that the application does not have. */
export const unknownView = (name: string, known: Iterable<string>): MainstemError =>
  fail('VIEW_UNKNOWN', `there is no view '${name.slice(0, 100)}'`, {
    detail: `the application has ${[...known].join(', ') || 'no views'}`,
  })
