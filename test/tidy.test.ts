// Style that a linter does not say: the size of files, loose ends, switched-off types, sleeping tests.
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const LINES_MAX = 450

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts', '*.mjs'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter(name => name !== '' && name !== 'test/tidy.test.ts')
  .map(name => ({ name, text: readFileSync(join(root, name), 'utf8') }))

/** Lines of code (not of comment) that match, as `name:line`. */
const matching = (pattern: RegExp, among = files): string[] =>
  among.flatMap(({ name, text }) =>
    text
      .split('\n')
      .flatMap((line, n) => (!/^\s*(\/\/|\*)/.test(line) && pattern.test(line) ? [`${name}:${n + 1}`] : [])),
  )

/** All files of the repository that are text. */
const texts = () =>
  execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
    .split('\0')
    .filter(name => name !== '' && statSync(join(root, name), { throwIfNoEntry: false })?.isFile())
    .map(name => ({ name, bytes: readFileSync(join(root, name)) }))
    .filter(({ bytes }) => !bytes.subarray(0, 8_192).includes(0))
    .map(({ name, bytes }) => ({ name, text: bytes.toString('utf8') }))

describe('the source', () => {
  it('has no file that holds more than one idea', () => {
    expect(files.filter(({ text }) => text.split('\n').length > LINES_MAX).map(({ name }) => name)).toEqual([])
  })

  it('has no loose ends', () => {
    const loose = /\b(TODO|FIXME|XXX|not implemented)\b|\b(it|test|describe)\.(skip|only)\(/
    expect(files.flatMap(({ name, text }) => (loose.test(text) ? [name] : []))).toEqual([])
  })

  it('has no conflict left from a merge, in any text', () => {
    const conflicts = texts().filter(({ text }) => /^(<{7} |={7}$|>{7} )/m.test(text))
    expect(conflicts.map(({ name }) => name)).toEqual([])
  })

  it('never switches the types off', () => {
    expect(matching(/\bas any\b|: any\b|@ts-ignore|@ts-nocheck/)).toEqual([])
  })

  it('has tests that wait for conditions and do not sleep', () => {
    const tests = files.filter(({ name }) => name.startsWith('test/') && name.endsWith('.test.ts'))
    expect(matching(/setTimeout\([^,]*resolve|await (sleep|delay)\(/, tests)).toEqual([])
  })

  it('declares what it imports', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >
    const known = new Set([
      'mainstem',
      ...Object.keys(manifest['dependencies'] ?? {}),
      ...Object.keys(manifest['devDependencies'] ?? {}),
    ])
    const imported = files.flatMap(({ text }) =>
      [...text.matchAll(/^(?:import|export)[^'"\n]*from '([^'.][^']*)'/gm)].map(([, name]) => name ?? ''),
    )
    const packages = imported
      .filter(name => !name.startsWith('node:'))
      .map(name =>
        name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/'),
      )
    expect([...new Set(packages)].filter(name => !known.has(name) && name !== 'vitest')).toEqual([])
  })
})
