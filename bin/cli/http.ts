// Calls to a running application. Answers are trusted to have the form that this version's API gives them.
import { fail, textOf } from '../../core/index.ts'
import { errorOfAnswer, type Parameters, type ServerEvent, serverEvents, urlOf } from '../../query-api/index.ts'

/** An API key or token for calls, out of the environment: what stands on a command line, others on the machine can read. */
const TOKEN_ENV = 'MAINSTEM_TOKEN'

export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly body?: unknown
  /** The type of the answer, where there are several. */
  readonly accept?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Parameters of the query string; undefined ones are left out. */
  readonly query?: Parameters
}

/**
 * Calls the application and gives the JSON of its answer.
 * @throws APPLICATION_UNREACHABLE; the problem that the application answers, under its own code
 */
export async function call<T>(base: string, path: string, options: CallOptions = {}): Promise<T> {
  return JSON.parse(await callText(base, path, options)) as T
}

/** The same, as the text that was sent: numbers beyond 2^53 keep their digits. */
export async function callText(base: string, path: string, options: CallOptions = {}): Promise<string> {
  const response = await send(base, path, options)
  try {
    return await response.text()
  } catch (error) {
    throw unreachable(base, error)
  }
}

/** The same, as it comes: what the head says, and the text piece by piece, no faster than it is taken. */
export async function callStream(
  base: string,
  path: string,
  options: CallOptions = {},
): Promise<{ readonly headers: Headers; readonly pieces: AsyncIterable<string> }> {
  const { headers, body } = await send(base, path, options)
  const pieces = async function* () {
    try {
      if (body) yield* body.pipeThrough(new TextDecoderStream())
    } catch (error) {
      throw fail('APPLICATION_UNREACHABLE', `${base} ended its answer before its end`, {
        detail: causeOf(error),
        cause: error,
      })
    }
  }
  return { headers, pieces: pieces() }
}

/** The events of a stream, until it ends or the connection does. @throws APPLICATION_UNREACHABLE; the problem that the application answers */
export async function callEvents(
  base: string,
  path: string,
  options: CallOptions = {},
): Promise<AsyncIterable<ServerEvent>> {
  const { body } = await send(base, path, options)
  return body ? serverEvents(body) : (async function* () {})()
}

/** @throws APPLICATION_UNREACHABLE; the problem that the application answers */
async function send(base: string, path: string, options: CallOptions): Promise<Response> {
  const token = process.env[TOKEN_ENV]
  let response: Response
  let problem: string
  try {
    response = await fetch(urlOf(base, { path, query: options.query ?? {} }), {
      method: options.method ?? 'GET',
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(options.accept === undefined ? {} : { accept: options.accept }),
        ...options.headers,
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    })
    if (response.ok) return response
    problem = await response.text()
  } catch (error) {
    throw unreachable(base, error)
  }
  throw errorOfAnswer(base, response.status, problem)
}

/** With the hint of the table of errors, which names the flag of commands. */
const unreachable = (base: string, error: unknown) =>
  fail('APPLICATION_UNREACHABLE', `no application answers at ${base}`, { detail: causeOf(error), cause: error })

/** fetch says `fetch failed`; why stands in its cause. */
const causeOf = (error: unknown): string =>
  error instanceof Error && error.cause !== undefined ? textOf(error.cause) : textOf(error)
