// A real browser for tests, from the system, and a server of pages that gives it this repository's own sources with their types taken out.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { type Browser, chromium } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']
const root = path.resolve(import.meta.dirname, '../..')

const program = (): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .flatMap(folder => NAMES.map(name => path.join(folder, name)))
    .find(existsSync)

/** Why there is no browser here; undefined where there is one, or has to be (CI=true). */
export const whyNoBrowser = (): string | undefined =>
  program() !== undefined || process.env['CI'] === 'true' ? undefined : 'no Chromium (apt-get install chromium)'

/** @throws Error where there is none */
export function openBrowser(): Promise<Browser> {
  const executablePath = program()
  if (executablePath === undefined) throw new Error('there is no Chromium on the PATH')
  return chromium.launch({ executablePath, args: ['--no-sandbox'] })
}

export interface Pages extends AsyncDisposable {
  readonly origin: string
  /** Source files that were asked for, as paths from the repository's root. */
  readonly loaded: ReadonlySet<string>
}

/** A page at `/` whose `globalThis.loaded` is a module of this repository, and `.ts` files as the JavaScript that they are without types. */
export async function openPages(module: string): Promise<Pages> {
  const page = `<!doctype html><script type="module">import * as loaded from '/${module}'; globalThis.loaded = loaded</script>`
  const loaded = new Set<string>()
  const server = createServer(async (request, response) => {
    const name = new URL(request.url ?? '/', 'http://pages').pathname.slice(1)
    if (!name.endsWith('.ts')) {
      response.writeHead(name === '' ? 200 : 404, { 'content-type': 'text/html' }).end(page)
      return
    }
    loaded.add(name)
    const source = await readFile(path.join(root, name), 'utf8')
    response.writeHead(200, { 'content-type': 'text/javascript' }).end(stripTypeScriptTypes(source))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    loaded,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
