// `mainstem log tail`: records in the order of the log, asked of a running application or read from the files.
import { type Command, InvalidArgumentError } from 'commander'
import { fail, type LogFolder, positionAt, Sequence } from '../../../core/index.ts'
import { LOG_PAGE_MAX, type LogRecordWire, recordJson } from '../../../query-api/index.ts'
import { wholeNumber } from '../arguments.ts'
import { call } from '../http.ts'
import { formatTable, grouped, line, transactionText } from '../table.ts'
import { inFolder, type ReachFlags, withReachOptions } from './folder.ts'

interface TailFlags extends ReachFlags {
  readonly from: number
  readonly since?: number
  readonly limit?: number
  readonly follow?: boolean
}

const FOLLOW_POLL_MS = 250
const LIMIT_DEFAULT = 100

export function addTail(log: Command): void {
  withReachOptions(log.command('tail').description('print records in the order of the log'))
    .argument('[topic]', 'a topic, of a table <source>.<table>; with --data-dir it may be left out: all topics')
    .option('--from <position>', 'first position to look at', wholeNumber(0, Number.MAX_SAFE_INTEGER), 1)
    .option('--since <time>', 'first append time to look at, as 2026-01-31T12:00:00Z', instant)
    .option(
      '--limit <count>',
      `most records to print (default: ${LIMIT_DEFAULT}, without end where --follow is given)`,
      wholeNumber(1, 1e9),
    )
    .option('--follow', 'go on with what is appended, until Ctrl-C; with --json one record per line')
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem log tail shop.orders --from 1000 --limit 20\n  mainstem log tail purchases --follow --json\n  mainstem log tail --data-dir .mainstem/truth --since 2026-01-31T12:00:00Z\n\nFiles give records in the shape in which they were written, an application in that of its contract.',
    )
    .action(tail)
}

/** An append time, as commander's option parser. */
export function instant(text: string): number {
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isSafeInteger(ms)) return ms
  throw new InvalidArgumentError('expected a time as 2026-01-31T12:00:00Z.')
}

async function tail(topic: string | undefined, flags: TailFlags): Promise<void> {
  const { dataDir } = flags
  if (dataDir !== undefined) return inFolder(dataDir, folder => print(new FolderPages(folder, topic), flags))
  if (topic === undefined)
    throw fail('REQUEST_INVALID', 'no topic was given', {
      hint: '`mainstem log topics` lists them; --data-dir <folder> prints all',
    })
  await print(new HttpPages(flags.url, topic), flags)
}

interface Page {
  readonly records: readonly LogRecordWire[]
  readonly next: string
  readonly end: string
}

/** Where records come from. */
interface Pages {
  page(from: string | number, limit: number): Promise<Page>
  /** The position of the first record of the time or later. */
  since(timeMs: number): Promise<number>
}

async function print(pages: Pages, flags: TailFlags): Promise<void> {
  let left = flags.limit ?? (flags.follow ? Number.POSITIVE_INFINITY : LIMIT_DEFAULT)
  let from: string | number = flags.from
  if (flags.since !== undefined) from = Math.max(from, await pages.since(flags.since))
  const kept: LogRecordWire[] = []
  for (;;) {
    const page = await pages.page(from, Math.min(left, LOG_PAGE_MAX))
    left -= page.records.length
    from = page.next
    if (!flags.json) recordLines(page.records).forEach(line)
    else if (flags.follow) page.records.map(record => JSON.stringify(record)).forEach(line)
    else kept.push(...page.records)
    const level = Number(page.next) > Number(page.end)
    if (left <= 0 || (level && !flags.follow)) {
      if (flags.json && !flags.follow) line(JSON.stringify({ records: kept, next: page.next, end: page.end }))
      return
    }
    if (level) await new Promise(resolve => setTimeout(resolve, FOLLOW_POLL_MS))
  }
}

export class HttpPages implements Pages {
  readonly #url: string
  readonly #path: string

  constructor(url: string, topic: string) {
    this.#url = url
    this.#path = `/v1/log/${encodeURIComponent(topic)}`
  }

  page(from: string | number, limit: number): Promise<Page> {
    return call<Page>(this.#url, this.#path, { query: { from, limit } })
  }

  /** Append times never fall: found by halving, one record asked for at a time. */
  async since(timeMs: number): Promise<number> {
    let low = 1
    let high = Number((await this.page(Number.MAX_SAFE_INTEGER, 1)).end) + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const record = await this.#recordAt(middle)
      if (record && Date.parse(record.appendTime) < timeMs) low = Number(record.position) + 1
      else high = middle
    }
    return low
  }

  /** The first record at a position or after. */
  async #recordAt(from: number): Promise<LogRecordWire | undefined> {
    for (let at: string | number = from; ; ) {
      const { records, next, end } = await this.page(at, 1)
      if (records[0] || Number(next) > Number(end)) return records[0]
      at = next
    }
  }
}

class FolderPages implements Pages {
  readonly #folder: LogFolder
  readonly #topic: string | undefined
  #seen = ''

  constructor(folder: LogFolder, topic: string | undefined) {
    this.#folder = folder
    this.#topic = topic
  }

  since(timeMs: number): Promise<number> {
    return positionAt(this.#folder, timeMs)
  }

  async page(from: string | number, limit: number): Promise<Page> {
    const folder = this.#folder
    await this.#look()
    const topic = this.#topic
    if (topic !== undefined && !folder.topics.find(topic)) throw unknownTopic(folder, topic)
    const records: LogRecordWire[] = []
    let next = Math.max(1, Number(from))
    if (next <= folder.end) {
      const sequence = await Sequence.from(after => folder.blocks(after), next, folder.base.changedTo)
      walk: for await (const block of folder.blocks(next - 1)) {
        sequence.enter(block)
        for (const cursor = block.records(); cursor.next(); ) {
          next = cursor.position + 1
          if (topic !== undefined && cursor.topic.name !== topic) continue
          records.push(JSON.parse(recordJson(cursor, block, sequence.of(cursor.position))) as LogRecordWire)
          if (records.length >= limit) break walk
        }
        // Behind its last record some may have been removed.
        next = Math.max(next, block.end + 1)
      }
    }
    return { records, next: String(next), end: String(folder.end) }
  }

  /** Looks at the folder again where its files have changed. */
  async #look(): Promise<void> {
    const seen = await this.#folder.fingerprint()
    if (this.#seen !== '' && seen !== this.#seen) await this.#folder.refresh()
    this.#seen = seen
  }
}

const unknownTopic = ({ topics }: LogFolder, topic: string) =>
  fail('TOPIC_UNKNOWN', `the log has no topic '${topic}'`, {
    detail: `it has ${topics.stored.map(({ name }) => name).join(', ') || 'none'}`,
  })

/** Rows of a table; topics are named where there are several. */
export function recordLines(records: readonly LogRecordWire[]): string[] {
  const several = records.some(({ topic }) => topic !== records[0]?.topic)
  return formatTable(records, [
    { text: record => grouped(record.position), align: 'right' },
    { text: record => (several ? record.topic : '') },
    { text: ({ source, emittedBy }) => (source ? `${source.source} ${source.position}` : (emittedBy ?? '')) },
    { text: ({ source }) => transactionText(source) },
    { text: record => record.op },
    { text: recordText },
  ])
}

function recordText(record: LogRecordWire): string {
  if (record.op === 'event') return JSON.stringify(record.value)
  if (record.op === 'parked') return `${record.parked?.key}: ${record.parked?.error}`
  if (record.op === 'update') return `${JSON.stringify(record.before)} → ${JSON.stringify(record.after)}`
  return JSON.stringify(record.after ?? record.before)
}
