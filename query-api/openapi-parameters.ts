// Parameters and headers that several calls of the OpenAPI document have in common.
import { IDEMPOTENCY_KEY_CHARS_MAX, MAX_AGE_MS_MAX, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, TOKENS_MAX } from './limits.ts'
import { type Json, whole } from './openapi-parts.ts'

export const headers = (): Json => ({
  'mainstem-types': {
    description:
      'JSON: path of a field → date-time, int64, base64 or map, for those whose type JSON cannot tell. Only where there are such fields.',
    schema: { type: 'string' },
  },
  etag: {
    description:
      "Stands for the row's value, whatever position and age the answer has; good until the application starts again",
    schema: { type: 'string' },
  },
})

export const parameters = (): Json => ({
  after: {
    name: 'after',
    in: 'query',
    description: `Tokens to wait for, at most ${TOKENS_MAX}: what an append returned, <source>:<its own position>, or a position of the log. Several times, or comma-separated.`,
    schema: { type: 'array', items: { type: 'string', minLength: 1 } },
    style: 'form',
    explode: true,
  },
  timeoutMs: whole('timeoutMs', 'How long to wait for `after`, milliseconds', {
    minimum: 0,
    maximum: TIMEOUT_MS_MAX,
    default: TIMEOUT_MS_DEFAULT,
  }),
  at: {
    name: 'at',
    in: 'query',
    description:
      'Read the past: a position of the log, a time of appending (ISO 8601 with a zone, or a day), or savepoint:<name>. The answer is as of the last transaction that had ended there, and `ageMs` is null. Not together with `after`.',
    schema: { type: 'string', minLength: 1 },
  },
  maxAgeMs: whole(
    'maxAgeMs',
    'How old the answer may be, milliseconds: where it is older, `timeoutMs` is how long to wait for a younger one (without it not at all), and then it is 503 VIEW_TOO_OLD. Not together with `at`.',
    { minimum: 0, maximum: MAX_AGE_MS_MAX },
  ),
  'idempotency-key': {
    name: 'idempotency-key',
    in: 'header',
    description: `Chosen by the client for one append, or one command: whenever it is sent again, in a week, nothing is appended and the answer is that of the first time. With another body it is 422.`,
    schema: { type: 'string', minLength: 1, maxLength: IDEMPOTENCY_KEY_CHARS_MAX },
  },
  'if-match': {
    name: 'if-match',
    in: 'header',
    description:
      'The version that the stream must have for the command to be decided, "0" where it must have no events yet: otherwise it is 409 VERSION_CONFLICT, which says the `version` that it has',
    schema: { type: 'string', pattern: '^"?[0-9]{1,15}"?$' },
  },
  'if-none-match': {
    name: 'if-none-match',
    in: 'header',
    description: 'ETags of values that the client has: where one is still right, the answer is 304',
    schema: { type: 'string' },
  },
  sources: {
    name: 'sources',
    in: 'query',
    description: 'true: the answer says, as `sources`, up to where each source is in it',
    schema: { type: 'boolean', default: false },
  },
})
