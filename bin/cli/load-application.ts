// Imports an application's file. The definition is pure, so loading it opens nothing.
import { existsSync } from 'node:fs'
import { dirname, relative, resolve, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { fail, isMainstemError, textOf } from '../../core/index.ts'
import type { Application } from '../../projections/index.ts'
import { loadEnvironment } from './environment.ts'

/** Loads the file's `.env`, then the file. @throws APPLICATION_INVALID; what the definitions in it refuse, as it is */
export async function loadApplication(file: string): Promise<Application> {
  const path = resolve(file)
  if (!existsSync(path)) throw fail('APPLICATION_INVALID', `there is no file ${file}`)
  loadEnvironment(path)
  const module = (await importFile(path)) as { readonly default?: unknown }
  if (!isApplication(module.default)) {
    throw fail('APPLICATION_INVALID', `the default export of ${file} is not an application`, {
      hint: "end the file with: export default application('name', { views: […] })",
    })
  }
  return module.default
}

async function importFile(path: string): Promise<unknown> {
  try {
    return await import(pathToFileURL(path).href)
  } catch (error) {
    if (isMainstemError(error)) throw error
    const place = placeOf(error, dirname(path))
    throw fail('APPLICATION_INVALID', `${path} cannot be loaded`, {
      detail: place === undefined ? textOf(error) : `${textOf(error)} (${place})`,
      cause: error,
    })
  }
}

/** `app.ts:12`: the first place that an error's stack names in the application's own folder. */
function placeOf(error: unknown, folder: string): string | undefined {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  for (const [, file = '', line] of stack.matchAll(/((?:file:\/\/)?\/[^\s()]+?):(\d+)/g)) {
    const path = file.startsWith('file:') ? fileURLToPath(file) : file
    if (path.startsWith(folder + sep) && !path.includes('node_modules')) return `${relative(folder, path)}:${line}`
  }
  return undefined
}

const isApplication = (value: unknown): value is Application =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'application'
