// What the views and mirrors of an application that does not run still need of its log: what they would hold back if it did.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Held, mirrorHeld } from '../../../core/index.ts'
import { viewsHeld } from '../../../projections/index.ts'

/** @param dataDir the application's: with `log/`, and `views/` and `mirror/` where it has such · @throws DATA_DIR_INVALID */
export async function heldIn(dataDir: string, logId: string): Promise<readonly Held[]> {
  const mirrors = join(dataDir, 'mirror')
  const sources = existsSync(mirrors) ? readdirSync(mirrors) : []
  const held = await Promise.all(sources.map(source => mirrorHeld(join(mirrors, source), source, logId)))
  return [...(await viewsHeld(join(dataDir, 'views'), logId)), ...held.filter(each => each !== undefined)]
}
