// The one logger of `mainstem run`: lines for people on a terminal, JSON by pino where machines read them. What the application tells goes
// through it, and what its server tells.
import pino from 'pino'
import { textOf } from '../../core/index.ts'
import type { ServerLog } from '../../query-api/index.ts'
import { RunDisplay } from './run-display.ts'
import type { RunEvent } from './run-events.ts'

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type LogFormat = 'text' | 'json'

export interface RunLog {
  readonly show: (event: RunEvent) => void
  readonly server: ServerLog
}

/** Should a secret ever get into what is logged, it is not written. */
const REDACTED = ['authorization', 'password', 'token', 'key', 'secret'].flatMap(name => [name, `*.${name}`])

/** `text` on a terminal and in development, `json` in production (NODE_ENV) where nobody looks on. */
export const formatOf = (out: { readonly isTTY?: boolean }, environment: NodeJS.ProcessEnv = process.env): LogFormat =>
  environment['NODE_ENV'] === 'production' && !out.isTTY ? 'json' : 'text'

export function openRunLog(format: LogFormat, level: LogLevel): RunLog {
  if (format === 'text') return textLog(level)
  const logger = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: REDACTED,
      formatters: { level: label => ({ level: label }) },
    },
    // Written at once: the last lines before an end are those that matter.
    pino.destination({ dest: 2, sync: true }),
  )
  return {
    show: event => logger[levelOf(event)](event, event.event),
    server: {
      error: (members, text) => logger.error(members, text),
      warn: (members, text) => logger.warn(members, text),
      debug: (members, text) => logger.debug(members, text),
    },
  }
}

function textLog(level: LogLevel): RunLog {
  const display = new RunDisplay(process.stderr)
  const rank = LOG_LEVELS.indexOf(level)
  const shows = (each: LogLevel) => LOG_LEVELS.indexOf(each) <= rank
  const say = (each: LogLevel, text: string) => {
    if (shows(each)) display.say(`  ${each === 'debug' ? '' : `${each}: `}${text}`)
  }
  return {
    show: event => {
      // The line that moves is no log.
      if (event.event === 'status' || shows(levelOf(event))) display.show(event)
    },
    server: {
      error: (members, text) => say('error', 'err' in members ? `${text}: ${stackOf(members.err)}` : text),
      warn: (_, text) => say('warn', text),
      debug: (_, text) => say('debug', text),
    },
  }
}

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : textOf(error))

function levelOf({ event }: RunEvent): LogLevel {
  switch (event) {
    case 'source-failed':
    case 'view-stopped':
    case 'checkpoint-failed':
    case 'checkpoint-damaged':
      return 'error'
    case 'source-retrying':
    case 'source-paused':
    case 'source-log-held':
    case 'outbox-waits':
    case 'parked':
      return 'warn'
    case 'status':
    case 'snapshot-progress':
    case 'checkpoint-started':
    case 'checkpoint-ended':
      return 'debug'
    default:
      return 'info'
  }
}
