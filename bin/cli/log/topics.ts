// `mainstem log topics`: what the log holds. A running application says names, keys and versions; the files say how much too.
import type { Command } from 'commander'
import { summarizeTopics, type TopicSummary } from '../../../core/index.ts'
import type { LogWire } from '../../../query-api/index.ts'
import { call } from '../http.ts'
import { byteSize, type Column, formatTable, grouped, line } from '../table.ts'
import { inFolder, type ReachFlags, withReachOptions } from './folder.ts'

export function addTopics(log: Command): void {
  withReachOptions(log.command('topics').description('list the topics; with --data-dir also how much of each there is'))
    .addHelpText('after', '\nExamples:\n  mainstem log topics\n  mainstem log topics --data-dir .mainstem/truth')
    .action(({ url, dataDir, json }: ReachFlags) =>
      dataDir === undefined ? topicsOfApplication(url, json ?? false) : topicsOfFolder(dataDir, json ?? false),
    )
}

const COLUMNS: readonly Column<Pick<TopicSummary, 'name' | 'kind' | 'key' | 'version'>>[] = [
  { text: topic => topic.name },
  { text: topic => topic.kind },
  { text: topic => `key ${topic.key.join(',')}` },
  { text: topic => (topic.version > 1 ? `version ${topic.version}` : '') },
]

async function topicsOfApplication(url: string, json: boolean): Promise<void> {
  const answer = await call<LogWire>(url, '/v1/log')
  if (json) return line(JSON.stringify(answer))
  formatTable(answer.topics, COLUMNS).forEach(line)
  line(`  log ${answer.id}: ${answer.state}, ends at ${grouped(answer.end)}, ${sizeText(answer)}`)
}

const sizeText = ({ bytes, segments }: { readonly bytes: number; readonly segments: number }): string =>
  `${byteSize(bytes)} in ${grouped(segments)} ${segments === 1 ? 'segment' : 'segments'}`

const topicsOfFolder = (dataDir: string, json: boolean): Promise<void> =>
  inFolder(dataDir, async folder => {
    const topics = await summarizeTopics(folder)
    const segments = folder.segments.length
    const bytes = folder.segments.reduce((sum, segment) => sum + segment.bytes, 0)
    const whole = { id: folder.identity.id, end: String(folder.end), bytes, segments }
    if (json) return line(JSON.stringify({ ...whole, topics }))
    formatTable(topics, [
      ...(COLUMNS as readonly Column<TopicSummary>[]),
      { text: ({ layouts }) => (layouts > 1 ? `${layouts} layouts` : '') },
      { text: ({ records }) => `${grouped(records)} records`, align: 'right' },
      { text: ({ records, bytesAbout }) => (records > 0 ? `about ${byteSize(bytesAbout)}` : ''), align: 'right' },
      { text: ({ first, last }) => (first === null || last === null ? '' : `${grouped(first)} – ${grouped(last)}`) },
      { text: opsText },
    ]).forEach(line)
    line(`  log ${whole.id}: ends at ${grouped(folder.end)}, ${sizeText(whole)}`)
  })

/** Only what is not plain: an event topic has events. */
const opsText = ({ kind, ops }: TopicSummary): string =>
  Object.entries(ops)
    .filter(([op]) => kind === 'table' || op !== 'event')
    .map(([op, count]) => `${grouped(count)} ${op}`)
    .join(', ')
