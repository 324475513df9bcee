// `mainstem sources drop NAME`: removes what a source keeps on its database server (slot, publication), so that a source
// that nobody reads cannot fill the primary's disk. Through the running application, or without one.
import type { Command } from 'commander'
import type { DropReport } from '../../core/index.ts'
import { partsOf } from '../../projections/index.ts'
import { unknownSource } from '../open-application.ts'
import { type ClientFlags, withClientOptions } from './client-commands.ts'
import { call } from './http.ts'
import { loadApplication } from './load-application.ts'

interface DropFlags extends ClientFlags {
  readonly app?: string
}

/** @param sources the command `sources` */
export function addSourcesDrop(sources: Command): void {
  withClientOptions(
    sources
      .command('drop')
      .description("remove a source's slot and publication from its database server; the log and the views stay"),
  )
    .argument('<source>', 'the name given to postgres(…)')
    .option('--app <file>', 'the application file, when the application does not run')
    .addHelpText('after', '\nExample:\n  mainstem sources drop shop --app app.ts')
    .action(drop)
}

async function drop(name: string, flags: DropFlags): Promise<void> {
  const report = flags.app === undefined ? await dropRunning(name, flags.url) : await dropOffline(name, flags.app)
  if (flags.json) console.log(JSON.stringify(report))
  else if (report.dropped.length === 0) console.log(`  ${name}: there was nothing to drop`)
  else console.log(`  ${name}: dropped ${report.dropped.join(', ')}`)
}

const dropRunning = (name: string, url: string): Promise<DropReport> =>
  call<DropReport>(url, `/v1/sources/${encodeURIComponent(name)}`, { method: 'DELETE' })

async function dropOffline(name: string, file: string): Promise<DropReport> {
  const app = await loadApplication(file)
  const { sources } = partsOf(app)
  const source = sources.find(each => each.name === name)
  if (!source) throw unknownSource(name, sources)
  return source.drop(app.name)
}
