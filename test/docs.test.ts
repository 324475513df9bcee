import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERRORS } from '../core/index.ts'

const operations = resolve(import.meta.dirname, '../docs/operations.md')
const MARK = '<!-- errors: made from core/errors.ts; test/docs.test.ts checks it -->'

function errorTable(): string {
  const rows = Object.entries(ERRORS).map(([code, kind]) => {
    const hint = 'hint' in kind ? kind.hint : ''
    return `| \`${code}\` | ${kind.status} | ${kind.retriable ? 'yes' : 'no'} | ${hint} |`
  })
  return [
    '| code | HTTP | worth trying again | what to do, unless the error says more |',
    '| --- | --- | --- | --- |',
    ...rows,
  ].join('\n')
}

describe('docs/operations.md', () => {
  it('lists every error code as the code has it (UPDATE_DOCS=1 writes it anew)', async () => {
    const text = await readFile(operations, 'utf8')
    const [before = '', after = ''] = text.split(MARK)
    if (process.env['UPDATE_DOCS']) await writeFile(operations, `${before}${MARK}\n${errorTable()}\n`)
    else expect(after.trim()).toBe(errorTable())
  })

  it('names only folders and files that exist', async () => {
    const root = join(operations, '../..')
    const architecture = await readFile(join(root, 'docs/architecture.md'), 'utf8')
    for (const [, path] of architecture.matchAll(
      /`((?:core|cdc|projections|query-api|bin|samples|test)\/[\w./-]+\.ts)`/g,
    )) {
      await expect(readFile(join(root, path ?? ''), 'utf8'), path).resolves.toBeTruthy()
    }
  })
})
