import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const run = promisify(execFile)

describe('the README', () => {
  it('shows the hello sample as it is', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const sample = await readFile(join(root, 'samples/hello/hello.ts'), 'utf8')
    const shown = /```ts\n([\s\S]*?)```/.exec(readme)?.[1]
    expect(shown).toBe(sample)
  })

  it('shows a database example that compiles', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const compiled = await readFile(join(root, 'test/types/readme-database.ts'), 'utf8')
    const [, shown] = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code ?? '')
    expect(shown).toBeTruthy()
    expect(compiled).toContain(shown)
  })

  it('shows a client that compiles', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const compiled = await readFile(join(root, 'test/types/readme-client.ts'), 'utf8')
    const shown = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)][3]?.[1]
    expect(shown).toBeTruthy()
    expect(compiled).toContain(shown?.replace('./hello.ts', '../../samples/hello/hello.ts'))
  })

  it('shows a part of the seats sample as it is', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const sample = await readFile(join(root, 'samples/seats/app.ts'), 'utf8')
    const shown = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)][2]?.[1]
    expect(shown).toBeTruthy()
    expect(sample).toContain(shown)
  })

  it('shows what the hello sample prints, the first and the second time', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const folder = await mkdtemp(join(tmpdir(), 'mainstem-readme-'))
    try {
      const hello = async () => {
        const { stdout } = await run(process.execPath, [join(root, 'samples/hello/hello.ts')], { cwd: folder })
        return stdout.trim()
      }
      const first = await hello()
      expect(first).toBe('{ count: 2, cents: 2050 } at 2')
      expect(readme).toContain(`\`\`\`\n${first}\n\`\`\``)
      const second = await hello()
      expect(readme).toContain(`a second run says \`${second}\``)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('names only files and commands that exist', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    for (const [, script] of readme.matchAll(/npm run ([a-z:]+)/g)) expect(scripts).toHaveProperty(script ?? '')
    for (const [, file] of readme.matchAll(/\]\(([\w./-]+)\)/g)) await readFile(join(root, file ?? ''), 'utf8')
  })
})
