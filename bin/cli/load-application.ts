// Imports an application's file. The definition is pure, so loading it opens nothing.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fail, textOf } from '../../core/index.ts'
import type { Application } from '../../projections/index.ts'
import { loadEnvironment } from './environment.ts'

/** Loads the file's `.env`, then the file. @throws APPLICATION_INVALID; errors of the file itself as they are */
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
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (code === 'ERR_MODULE_NOT_FOUND' || error instanceof SyntaxError) {
      throw fail('APPLICATION_INVALID', `${path} cannot be loaded`, { detail: textOf(error), cause: error })
    }
    throw error
  }
}

const isApplication = (value: unknown): value is Application =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'application'
