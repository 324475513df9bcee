// The application as a shard's thread has it: loaded from its file, and found to be the one that the process runs. Functions do not
// go from thread to thread, so each loads the same definition.

import { pathToFileURL } from 'node:url'
import { isMainThread, workerData } from 'node:worker_threads'
import { fail, type MainstemError, textOf } from '../../core/index.ts'
import { type Application, type ApplicationParts, partsOf } from '../application.ts'
import { shapeOf } from '../fingerprint.ts'

/** Where an application is found, and how it is known again. Plain data. */
export interface DefinitionPlace {
  readonly application: string
  readonly file: string
  /** Modules to import first: what lets the file find its packages. */
  readonly preload: readonly string[]
  /** Of what its definitions say: names, schemas, texts of handlers. */
  readonly shape: string
}

/** @throws APPLICATION_INVALID where the application is of no file */
export function placeOf(app: Application, preload: readonly string[] = []): DefinitionPlace {
  const { name, file } = app
  if (file === undefined) {
    throw fail('APPLICATION_INVALID', `application '${name}' cannot run in several shards`, {
      detail: 'it is not known which file declares it',
      hint: 'declare it in a file of its own, as its default export; or run it with one shard',
    })
  }
  return { application: name, file, preload, shape: shapeOf(partsOf(app)) }
}

/** @throws APPLICATION_INVALID where the file does not give the same application */
export async function loadDefinition({
  application,
  file,
  preload,
  shape,
}: DefinitionPlace): Promise<ApplicationParts> {
  for (const module of preload) await import(module)
  const app = await defaultExport(file)
  if (!isApplication(app) || app.name !== application)
    throw unfit(file, `its default export is not application '${application}'`)
  const parts = partsOf(app)
  if (shapeOf(parts) !== shape)
    throw unfit(file, 'what it declares is not what the process runs: it depends on where it is loaded')
  return parts
}

async function defaultExport(file: string): Promise<unknown> {
  try {
    return ((await import(pathToFileURL(file).href)) as { readonly default?: unknown }).default
  } catch (error) {
    throw unfit(file, textOf(error), error)
  }
}

const isApplication = (value: unknown): value is Application =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'application'

const unfit = (file: string, detail: string, cause?: unknown): MainstemError =>
  fail('APPLICATION_INVALID', `a shard cannot load ${file}`, {
    detail,
    hint: 'let the file do nothing but declare the application and export it by default; open it from another',
    cause,
  })

/** What tells a shard's thread from others. */
export const SHARD_THREAD = 'mainstem shard'

/** Whether this is a shard's thread: applications are declared there, and not opened. */
export const inShardThread = (): boolean =>
  !isMainThread && (workerData as { readonly kind?: unknown } | null)?.kind === SHARD_THREAD
