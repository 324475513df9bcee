// Settings from a `.env` file beside the application, so that passwords stand in no shell history. The environment wins.
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { loadEnvFile } from 'node:process'

export function loadEnvironment(applicationFile: string): void {
  const file = join(dirname(resolve(applicationFile)), '.env')
  if (existsSync(file)) loadEnvFile(file)
}
