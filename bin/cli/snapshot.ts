// `mainstem snapshot SOURCE [TABLE…]`: reads tables of a running application's source once more, beside the stream.
import type { Command } from 'commander'
import { errorOf, fail, type SnapshotProgress, type SourceStatus } from '../../core/index.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { EXIT } from './exit.ts'
import { call } from './http.ts'
import { grouped, line } from './table.ts'
import { untilEnded } from './until-ended.ts'

interface SnapshotFlags extends ClientFlags {
  readonly where?: string
  readonly wait: boolean
  readonly pause?: boolean
  readonly resume?: boolean
  readonly cancel?: boolean
}

export function addSnapshot(program: Command): void {
  withClientOptions(
    program
      .command('snapshot')
      .description(
        'read tables of a source once more while its changes are streamed; only differences become records. Of a source that has failed, of all tables: the repair',
      ),
  )
    .argument('<source>', 'name of the source')
    .argument('[tables...]', 'names as in the database (default: all captured tables)')
    .option(
      '--where <condition>',
      'only rows for which this SQL of the database holds now; rows that were deleted, or for which it holds no more, are not found: leave it out to find them',
    )
    .option('--no-wait', 'do not wait for its end')
    .option('--pause', 'read no further; it also stays paused over a restart')
    .option('--resume', 'go on where it was paused')
    .option('--cancel', 'give it up; what was read stays')
    .addHelpText(
      'after',
      `
Examples:
  mainstem snapshot shop orders --where "placed_at > '2026-01-01'"
  mainstem snapshot shop --pause`,
    )
    .action(run)
}

async function run(source: string, tables: readonly string[], flags: SnapshotFlags): Promise<void> {
  const { url, json, where } = flags
  const change = CHANGES.filter(each => flags[each])
  if (change.length > 1 || (change.length === 1 && (tables.length > 0 || where !== undefined))) {
    throw fail('REQUEST_INVALID', 'say one thing: pause, resume, cancel, or what to read')
  }
  const path = `/v1/sources/${encodeURIComponent(source)}/snapshot`
  const [what] = change
  const answer = await call<{ snapshot: SnapshotProgress | null }>(url, what ? `${path}/${what}` : path, {
    method: 'POST',
    body: what ? {} : { ...(tables.length > 0 ? { tables } : {}), ...(where === undefined ? {} : { where }) },
  })
  if (what === 'pause' || what === 'cancel' || !flags.wait) {
    line(json ? JSON.stringify(answer) : `  ${source}: ${textOf(answer.snapshot)}`)
    return
  }
  const ended = await waitFor(url, source)
  line(json ? JSON.stringify({ source, snapshot: ended }) : `  ${source}: ${ended ? textOf(ended) : 'read'}`)
  if (ended?.paused) process.exitCode = EXIT.failed
}

const CHANGES = ['pause', 'resume', 'cancel'] as const

/** Waits until the source has no snapshot under way; gives one that was paused meanwhile. @throws what the source failed with */
async function waitFor(url: string, source: string): Promise<SnapshotProgress | null> {
  return untilEnded('rows', async show => {
    const status = await call<SourceStatus>(url, `/v1/sources/${encodeURIComponent(source)}`)
    const { snapshot, state, error } = status
    if (state === 'failed' && error) throw errorOf(error)
    if (snapshot?.paused) return snapshot
    if (snapshot === null && state === 'streaming') return null
    if (snapshot) show(snapshot.rows, snapshot.rowsEstimated)
    return undefined
  })
}

function textOf(snapshot: SnapshotProgress | null): string {
  if (!snapshot) return 'no snapshot is under way'
  const { rows, rowsEstimated, tables, tablesDone, paused, error } = snapshot
  const far = `${grouped(rows)} of about ${grouped(rowsEstimated)} rows, ${tablesDone} of ${tables} tables`
  if (error) return `paused at ${far}: ${error.code} ${error.message}${error.detail ? ` (${error.detail})` : ''}`
  return `${paused ? 'paused at' : 'read'} ${far}`
}
