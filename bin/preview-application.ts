// What a start of an application would do with its views: nothing is written, locked or connected to.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type LogFacts, LogFolder, NO_LOG } from '../core/index.ts'
import {
  type Application,
  type ApplicationParts,
  contractsOf,
  fingerprintOf,
  type Preview,
  partsOf,
  previewStart,
  shapeOf,
} from '../projections/index.ts'
import { checkViews, dataDirOf, type OpenOptions, openSavepoint } from './open-application.ts'

export type PreviewOf = Pick<OpenOptions, 'dataDir' | 'continueFrom' | 'acceptHistoryGone' | 'fromSavepoint'>

/** The plan of a start, also while the application runs. @throws as the start would for its log, contracts and views */
export async function previewApplication(app: Application, options: PreviewOf): Promise<Preview> {
  const { dataDir = dataDirOf(app), continueFrom = [], acceptHistoryGone = [], fromSavepoint } = options
  const parts = partsOf(app)
  checkViews([...acceptHistoryGone, ...continueFrom], parts)
  const log = await logFacts(dataDir, parts)
  const savepoint = fromSavepoint === undefined ? undefined : await openSavepoint(fromSavepoint, dataDir, log)
  const fingerprint = await fingerprintOf(app.file, shapeOf(parts))
  return previewStart({
    log,
    parts,
    fingerprint,
    path: join(dataDir, 'views'),
    savepoint,
    continueFrom,
    acceptHistoryGone,
  })
}

async function logFacts(dataDir: string, parts: ApplicationParts): Promise<LogFacts> {
  if (!existsSync(join(dataDir, 'log', 'log.json'))) return NO_LOG
  await using folder = await LogFolder.open(dataDir)
  return folder.registering(contractsOf(parts))
}
