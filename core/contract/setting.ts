// Settings that an application names but does not hold: secrets stay in the environment, or in a file, until something is opened.
import { readFileSync } from 'node:fs'
import { fail, textOf } from '../errors.ts'

export type Setting =
  | { readonly env: string; readonly fallback: string | undefined }
  | {
      /** Path of the file. */
      readonly file: string
    }

/** A setting read from the environment when the application opens; never stored, never printed. */
export function env(name: string, fallback?: string): Setting {
  return { env: name, fallback }
}

/**
 * A setting that is a file's text, without the line's end at its end: what Kubernetes, Docker and systemd give secrets as. Read for
 * each connection anew, so that it may be exchanged while the application runs; never stored, never printed.
 * @param path relative ones from the working folder
 */
export function secretFile(path: string): Setting {
  return { file: path }
}

/** @throws SOURCE_SETTING_MISSING */
export function readSetting(setting: string | Setting, what: string): string {
  if (typeof setting === 'string') return setting
  if ('file' in setting) return readSecret(setting.file, what)
  const value = process.env[setting.env] ?? setting.fallback
  if (value === undefined || value === '') {
    throw fail('SOURCE_SETTING_MISSING', `cannot open ${what}`, {
      detail: `${setting.env} is not set`,
      hint: `export it, or give a default: env('${setting.env}', …)`,
    })
  }
  return value
}

function readSecret(path: string, what: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw fail('SOURCE_SETTING_MISSING', `cannot open ${what}`, {
      detail: textOf(error),
      hint: 'see that the file is there, and readable by the user that runs mainstem',
    })
  }
  if (text !== '') return text
  throw fail('SOURCE_SETTING_MISSING', `cannot open ${what}`, { detail: `${path} is empty` })
}
