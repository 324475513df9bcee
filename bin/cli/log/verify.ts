// `mainstem log verify`: reads all of a log and says everything that is wrong with it.
import { basename } from 'node:path'
import type { Command } from 'commander'
import { type Damage, verifyLog } from '../../../core/index.ts'
import { EXIT } from '../exit.ts'
import { byteSize, grouped, line } from '../table.ts'
import { type FolderFlags, withFolderOptions } from './folder.ts'
import { Progress } from './progress.ts'

export function addVerify(log: Command): void {
  withFolderOptions(
    log.command('verify').description('read everything: checksums, order, index files and footers, every record'),
  )
    .addHelpText(
      'after',
      '\nExample:\n  mainstem log verify --data-dir .mainstem/truth\n\nEach damage is named with its file and byte; then the exit code is 1. Nothing is changed.',
    )
    .action(verify)
}

async function verify({ dataDir, json }: FolderFlags): Promise<void> {
  const progress = new Progress(perSecond => `${byteSize(perSecond)}/s`)
  const startedMs = performance.now()
  const damageLine = ({ file, offset, problem }: Damage): void => {
    progress.end()
    if (!json) line(`  damaged: ${basename(file)} at byte ${grouped(offset)}: ${problem}`)
  }
  const report = await verifyLog(dataDir, {
    onDamage: damageLine,
    onProgress: (done, total) => progress.show(done, total),
  }).finally(() => progress.end())
  const seconds = (performance.now() - startedMs) / 1_000
  const { segments, bytes, records, tailBytes, damaged } = report
  if (damaged > 0) process.exitCode = EXIT.failed
  if (json) return line(JSON.stringify({ ...report, seconds }))
  const rate = `${byteSize(bytes / Math.max(seconds, 1e-3))}/s`
  line(
    `  ${grouped(records)} records, ${byteSize(bytes)} in ${grouped(segments)} ${segments === 1 ? 'segment' : 'segments'} read in ${seconds.toFixed(1)} s, ${rate}`,
  )
  if (tailBytes > 0)
    line(`  ${grouped(tailBytes)} bytes at the end were never acknowledged: the next start cuts them off`)
  line(damaged === 0 ? '  no damage' : `  ${grouped(damaged)} damaged: restore the files from a backup`)
}
