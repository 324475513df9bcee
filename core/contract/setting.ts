// Settings that an application names but does not hold: secrets stay in the environment until something is opened.
import { fail } from '../errors.ts'

export interface Setting {
  readonly env: string
  readonly fallback: string | undefined
}

/** A setting read from the environment when the application opens; never stored, never printed. */
export function env(name: string, fallback?: string): Setting {
  return { env: name, fallback }
}

/** @throws SOURCE_SETTING_MISSING */
export function readSetting(setting: string | Setting, what: string): string {
  if (typeof setting === 'string') return setting
  const value = process.env[setting.env] ?? setting.fallback
  if (value === undefined || value === '') {
    throw fail('SOURCE_SETTING_MISSING', `cannot open ${what}`, {
      detail: `${setting.env} is not set`,
      hint: `export it, or give a default: env('${setting.env}', …)`,
    })
  }
  return value
}
