// A log as lines of JSON (NDJSON): a head that says how records are stored, a line per record in the order of the log, and a last
// line, without which the text is not whole. All that the log holds is in it, exactly: kinds of change, parked rows, the old
// layouts of old records, append times, what was read of sources, and which records were one batch.
import type { AnyRow } from '../../contract/index.ts'
import { fail } from '../../errors.ts'
import type { LogBlock, RecordCursor, SourceMark } from '../log.ts'
import { toExact } from './exact.ts'
import type { LogFolder } from './offline.ts'
import { layoutOf } from './survey.ts'

export const EXPORT_FORMAT = 1

export interface ExportOptions {
  /** Default: all, and marks of sources that no record stands beside. */
  readonly topics?: readonly string[]
  /** Batches that begin at this position or later. Default: 1. */
  readonly from?: number
  /** Batches that begin at this position or before. Default: the end. */
  readonly to?: number
  /** Told where it is, now and then. */
  readonly onProgress?: (position: number) => void
}

export interface Exported {
  readonly records: number
  readonly batches: number
  /** Where the last batch looked at ends. */
  readonly position: number
}

const PIECE_CHARS = 64 * 1024

/**
 * The text of an export, in pieces of whole lines.
 * @throws TOPIC_UNKNOWN, LOG_CORRUPT
 */
export async function* exportLog(folder: LogFolder, options: ExportOptions = {}): AsyncGenerator<string, Exported> {
  const { from = 1, to = folder.end } = options
  const wanted = wantedTopics(folder, options.topics)
  const { id } = folder.identity
  const topics = folder.topics.stored.filter(({ name }) => wanted?.has(name) ?? true)
  const lines = new Lines(wanted)
  yield `${JSON.stringify({ mainstem: 'log-export', format: EXPORT_FORMAT, log: id, from: String(from), to: String(to), topics })}\n`
  let position = from - 1
  for await (const block of wholeBatches(folder, from, to)) {
    lines.add(block)
    position = block.end
    if (block.last) lines.end()
    if (lines.chars < PIECE_CHARS) continue
    options.onProgress?.(position)
    yield lines.take()
  }
  const { records, batches: count } = lines
  const done = { records, batches: count, position }
  yield `${lines.take()}${JSON.stringify({ mainstem: 'log-export-end', records, batches: count })}\n`
  return done
}

function wantedTopics(folder: LogFolder, names: readonly string[] | undefined): ReadonlySet<string> | undefined {
  if (!names || names.length === 0) return undefined
  const known = new Set(folder.topics.stored.map(({ name }) => name))
  const unknown = names.find(name => !known.has(name))
  if (unknown === undefined) return new Set(names)
  throw fail('TOPIC_UNKNOWN', `the log has no topic '${unknown}'`, {
    detail: `it has ${[...known].join(', ') || 'none'}`,
  })
}

/** The blocks of the batches that begin in a range. */
async function* wholeBatches(folder: LogFolder, from: number, to: number): AsyncGenerator<LogBlock> {
  // The record before says whether a batch begins at `from`.
  let passing = from > 1
  let inside = false
  for await (const block of folder.blocks(Math.max(0, from - 2))) {
    if (passing) {
      passing = !block.last || block.end < from - 1
      continue
    }
    // A heartbeat has no position of its own: it stands before the next one.
    const begins = block.count > 0 ? block.first : block.first - 1
    if (!inside && begins > to) return
    yield block
    inside = !block.last
  }
}

/** Lines of batches; the last record of each says so. */
class Lines {
  records = 0
  batches = 0
  chars = 0
  #pieces: string[] = []
  /** The line at hand, without its end. */
  #open: string | undefined
  readonly #wanted: ReadonlySet<string> | undefined

  constructor(wanted: ReadonlySet<string> | undefined) {
    this.#wanted = wanted
  }

  add(block: LogBlock): void {
    const stamp = `"appendTime":"${new Date(block.appendTimeMs).toISOString()}"${markJson(block.mark)}`
    if (block.count === 0 && !this.#wanted) this.#line(`{"position":"${block.first}","op":"mark",${stamp}`)
    for (const cursor = block.records(); cursor.next(); ) {
      if (this.#wanted && !this.#wanted.has(cursor.topic.name)) continue
      this.#line(`${recordJson(cursor)},${stamp}`)
      this.records++
    }
  }

  /** Ends a batch. */
  end(): void {
    if (this.#open === undefined) return
    this.#push(`${this.#open},"last":true}\n`)
    this.#open = undefined
    this.batches++
  }

  #line(text: string): void {
    if (this.#open !== undefined) this.#push(`${this.#open}}\n`)
    this.#open = text
  }

  #push(text: string): void {
    this.#pieces.push(text)
    this.chars += text.length
  }

  take(): string {
    const text = this.#pieces.join('')
    this.#pieces = []
    this.chars = 0
    return text
  }
}

const markJson = (mark: SourceMark | undefined): string => (mark ? `,"source":${JSON.stringify(mark)}` : '')

function recordJson(cursor: RecordCursor): string {
  const { topic, op } = cursor
  const { id, codec } = layoutOf(topic)
  const row = (value: AnyRow | null) => JSON.stringify(toExact(codec.type, value))
  const body =
    op === 'event'
      ? `"value":${row(cursor.after())}`
      : op === 'parked'
        ? `"parked":${JSON.stringify(cursor.parked())}`
        : [
            op === 'insert' ? '' : `"before":${row(cursor.before())}`,
            op === 'delete' ? '' : `"after":${row(cursor.after())}`,
          ]
            .filter(text => text !== '')
            .join(',')
  return `{"position":"${cursor.position}","topic":${JSON.stringify(topic.name)},"layout":${id},"op":"${op}",${body}`
}
