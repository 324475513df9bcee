// `mainstem log trim` and `mainstem log compact`: remove history that is no longer wanted, through the running application or in the
// folder of a stopped one. Either way views and mirrors hold back what they still need. `--dry-run` only looks.
import { dirname } from 'node:path'
import type { Command } from 'commander'
import {
  type CleanRequest,
  estimateClean,
  fail,
  type LogFolder,
  openEmbeddedLog,
  positionAt,
} from '../../../core/index.ts'
import type { CleanWire, LogWire } from '../../../query-api/index.ts'
import { wholeNumber } from '../arguments.ts'
import { call } from '../http.ts'
import { byteSize, duration, grouped, line } from '../table.ts'
import { inFolder, type ReachFlags, withReachOptions } from './folder.ts'
import { heldIn } from './held.ts'
import { HttpPages, instant } from './tail.ts'

interface CleanFlags extends ReachFlags {
  readonly to?: number
  readonly force?: boolean
  readonly dryRun?: boolean
}

interface TrimFlags extends CleanFlags {
  readonly before?: number
}

const position = wholeNumber(1, Number.MAX_SAFE_INTEGER)
const FORCE = 'pass over what views and mirrors still need: they are made again from what is left'
const DRY_RUN = 'only say what would be removed'
const ONLY_CLOSED =
  '\n\nOnly closed segments are cleaned: what is in the newest one stays until it is full. What views and mirrors still need stays\nwithout --force. In a folder (--data-dir) no application may run meanwhile, but for a --dry-run.'

export function addTrim(log: Command): void {
  withReachOptions(log.command('trim').description('remove the old events of a topic'))
    .argument('<topic>', 'a topic of events')
    .option('--to <position>', 'events up to this position', position)
    .option('--before <time>', 'events appended before this time, as 2026-01-31T12:00:00Z', instant)
    .option('--force', FORCE)
    .option('--dry-run', DRY_RUN)
    .addHelpText(
      'after',
      `\nExamples:\n  mainstem log trim purchases --before 2026-01-01T00:00:00Z --dry-run\n  mainstem log trim purchases --to 100000 --data-dir .mainstem/hello${ONLY_CLOSED}`,
    )
    .action(trim)
}

export function addCompact(log: Command): void {
  withReachOptions(log.command('compact').description('keep only the newest row of each key of tables'))
    .argument('[tables...]', 'tables, as <source>.<table> (default: all)')
    .option('--to <position>', 'up to this position (default: as far as possible)', position)
    .option('--force', FORCE)
    .option('--dry-run', DRY_RUN)
    .addHelpText(
      'after',
      `\nExamples:\n  mainstem log compact --dry-run\n  mainstem log compact shop.orders --data-dir .mainstem/truth${ONLY_CLOSED}`,
    )
    .action(compact)
}

async function trim(topic: string, flags: TrimFlags): Promise<void> {
  const { to, before, dataDir, url } = flags
  if ((to === undefined) === (before === undefined))
    throw fail('REQUEST_INVALID', 'trim takes one of --to and --before')
  if (dataDir !== undefined) {
    const end = await inFolder(dataDir, async folder => to ?? (await positionAt(folder, before!)) - 1)
    return report(await cleanFolder(dataDir, { trim: { [topic]: end } }, flags), flags)
  }
  const end = to ?? (await new HttpPages(url, topic).since(before!)) - 1
  return report(await cleanApplication({ trim: { [topic]: String(end) } }, flags), flags)
}

async function compact(tables: readonly string[], flags: CleanFlags): Promise<void> {
  const { dataDir, url, to } = flags
  const each = <T>(names: readonly string[], value: T) => Object.fromEntries(names.map(name => [name, value]))
  if (dataDir !== undefined) {
    const names = tables.length > 0 ? tables : await inFolder(dataDir, async folder => tablesOf(folder))
    const request = { compact: each(names, to ?? Number.POSITIVE_INFINITY) }
    return report(await cleanFolder(dataDir, request, flags), flags)
  }
  const names = tables.length > 0 ? tables : await tablesAt(url)
  return report(await cleanApplication({ compact: each(names, to === undefined ? null : String(to)) }, flags), flags)
}

const tablesOf = ({ topics }: LogFolder): string[] =>
  topics.stored.filter(({ kind }) => kind === 'table').map(({ name }) => name)

async function tablesAt(url: string): Promise<string[]> {
  const { topics } = await call<LogWire>(url, '/v1/log')
  return topics.filter(({ kind }) => kind === 'table').map(({ name }) => name)
}

const cleanApplication = (
  request: Readonly<Record<string, unknown>>,
  { url, force = false, dryRun = false }: CleanFlags,
): Promise<CleanWire> => call<CleanWire>(url, '/v1/log/clean', { method: 'POST', body: { ...request, force, dryRun } })

type Report = Pick<CleanWire, 'recordsBefore' | 'recordsAfter' | 'bytesBefore' | 'bytesAfter' | 'ms' | 'generation'> & {
  readonly to: string | number
  readonly limitedBy?: { readonly name: string; readonly position: string | number } | null | undefined
}

/** @throws DATA_DIR_IN_USE while an application runs on it, but for a dry run */
async function cleanFolder(dataDir: string, request: CleanRequest, flags: CleanFlags): Promise<Report> {
  const { force = false, dryRun = false } = flags
  if (dryRun)
    return inFolder(dataDir, async folder => {
      const held = await heldIn(dirname(folder.path), folder.identity.id)
      return estimateClean(folder, { ...request, force }, held)
    })
  const path = await inFolder(dataDir, async folder => folder.path)
  await using log = await openEmbeddedLog({ path, seal: false })
  // Only now: what holds the folder's lock does not move on.
  for (const { name, position } of await heldIn(dirname(path), log.id)) log.hold(name, position)
  return await log.clean({ ...request, force })
}

function report(done: Report, { json, dryRun = false }: CleanFlags): void {
  if (json) {
    line(JSON.stringify({ ...done, to: String(done.to), dryRun }))
    return
  }
  const { recordsBefore, recordsAfter, bytesBefore, bytesAfter, ms, limitedBy } = done
  const gone = `${grouped(recordsBefore - recordsAfter)} of ${grouped(recordsBefore)} records up to position ${grouped(done.to)}`
  if (recordsBefore === recordsAfter) line(`  nothing to remove up to position ${grouped(done.to)}`)
  else if (dryRun) line(`  would remove ${gone}: ${byteSize(bytesBefore)} → about ${byteSize(bytesAfter)}`)
  else line(`  ${gone} removed in ${duration(ms)}: ${byteSize(bytesBefore)} → ${byteSize(bytesAfter)}`)
  if (limitedBy) line(`  held back by ${limitedBy.name} at position ${grouped(limitedBy.position)}`)
}
