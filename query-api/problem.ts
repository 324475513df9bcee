// Errors as RFC 9457 problem documents: the error's own fields under stable names, `code` for machines.
import { ERRORS, type ErrorCode, isMainstemError, type MainstemError } from '../core/index.ts'

export const PROBLEM_JSON = 'application/problem+json'

export interface Problem {
  readonly type: string
  /** The primary message. */
  readonly title: string
  readonly status: number
  /** What was seen. */
  readonly detail?: string
  readonly code: ErrorCode
  readonly hint?: string
  readonly retriable: boolean
  /** The request's path. */
  readonly instance?: string
  readonly [member: string]: unknown
}

/** The path of a URL as requests have it. */
export const pathOf = (url: string): string => {
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

/** A code's URI: it names the kind of problem, and is not meant to be opened. */
export const problemType = (code: ErrorCode): string => `urn:mainstem:problem:${code}`

export function problemOf(error: MainstemError, instance?: string): Problem {
  return {
    ...error.data,
    type: problemType(error.code),
    title: error.message,
    status: error.status,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    code: error.code,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    retriable: error.retriable,
    ...(instance === undefined ? {} : { instance }),
  }
}

/** A problem without the cost of an Error, for outcomes that are common (an absent row). */
export function problem(
  code: ErrorCode,
  title: string,
  instance: string,
  data: Readonly<Record<string, unknown>>,
): Problem {
  return {
    ...data,
    type: problemType(code),
    title,
    status: ERRORS[code].status,
    code,
    retriable: ERRORS[code].retriable,
    instance,
  }
}

/** True for errors that are ours to mend: they are reported, and their text stays inside. */
export const isInternal = (error: unknown): boolean => !isMainstemError(error) || error.code === 'INTERNAL'
