// Errors as clients meet them: what the application answered, as it said it, or that nothing answered. No table of codes is
// needed at run time, so that a client understands the errors of a newer application too.
import type { ErrorCode } from '../../core/index.ts'

interface Problem {
  readonly title: string
  readonly code: ErrorCode
  readonly status: number
  readonly retriable: boolean
  readonly detail?: string
  readonly hint?: string
  readonly cause?: unknown
  readonly data?: Readonly<Record<string, unknown>>
}

/** Recognise it by its `code`; the fields are those of a MainstemError, and `isMainstemError` takes it for one. */
export class ClientError extends Error {
  readonly code: ErrorCode
  /** What HTTP said; 503 where nothing answered. */
  readonly status: number
  /** Whether the same call may succeed later without a change. */
  readonly retriable: boolean
  readonly detail: string | undefined
  readonly hint: string | undefined
  /** Further members of the problem, such as `position` and `waitingFor`. */
  readonly data: Readonly<Record<string, unknown>>

  constructor({ title, code, status, retriable, detail, hint, cause, data }: Problem) {
    super(title, cause === undefined ? undefined : { cause })
    this.name = 'ClientError'
    this.code = code
    this.status = status
    this.retriable = retriable
    this.detail = detail
    this.hint = hint
    this.data = data ?? {}
  }
}

/** The error that an answer which is not a success stands for. */
export function errorOfAnswer(base: string, status: number, text: string): ClientError {
  const problem = parsed(text)
  if (typeof problem?.['code'] === 'string') {
    const { type: _, title, status: __, detail, code, hint, retriable, instance: ___, ...data } = problem
    return new ClientError({
      title: String(title),
      code: code as ErrorCode,
      status,
      retriable: retriable === true,
      data,
      ...(detail === undefined ? {} : { detail: String(detail) }),
      ...(hint === undefined ? {} : { hint: String(hint) }),
    })
  }
  // A proxy on the way says so where what is behind it is away, or is asked too often.
  const away = status === 429 || status === 502 || status === 503 || status === 504
  return new ClientError({
    title: `${base} answered ${status}, which is no answer of mainstem`,
    code: away ? 'APPLICATION_UNREACHABLE' : 'INTERNAL',
    status,
    retriable: away,
    detail: text.slice(0, 200),
    hint: 'does the URL name a mainstem application, of this version?',
  })
}

/** Nothing answered, or not to the end. */
export function unreachable(base: string, error: unknown): ClientError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return new ClientError({
    title: `no application answers at ${base}`,
    code: 'APPLICATION_UNREACHABLE',
    status: 503,
    retriable: true,
    detail: cause instanceof Error ? cause.message : String(cause),
    cause: error,
  })
}

/** What a caller gives and no request could say. */
export const invalid = (title: string, hint: string): ClientError =>
  new ClientError({ title, code: 'REQUEST_INVALID', status: 400, retriable: false, hint })

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const json = JSON.parse(text)
    return typeof json === 'object' && json !== null ? json : undefined
  } catch {
    return undefined
  }
}
