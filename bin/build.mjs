// Makes `dist/`: the package as it is published, compiled to JavaScript with its own manifest. `npm publish dist` ships it.
// The checkout needs none of this: there Node runs the TypeScript sources, which it does not do under node_modules.
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 24
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const dist = path.join(root, 'dist')

const compiled = file => file.replace(/\.ts$/, '.js')
const declared = file => file.replace(/\.ts$/, '.d.ts')
const exported = target => (target.endsWith('.ts') ? { types: declared(target), default: compiled(target) } : target)

rmSync(dist, { recursive: true, force: true })
execFileSync(
  process.execPath,
  [path.join(root, 'node_modules/typescript/bin/tsc'), '--project', 'tsconfig.build.json'],
  {
    cwd: root,
    stdio: 'inherit',
  },
)
mkdirSync(path.join(dist, 'bin'), { recursive: true })
for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md', 'bin/mainstem.mjs', 'bin/resolve-hook.mjs']) {
  copyFileSync(path.join(root, file), path.join(dist, file))
}
const {
  scripts: _,
  devDependencies: __,
  allowScripts: ___,
  exports,
  ...manifest
} = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
const published = {
  ...manifest,
  engines: { node: `>=${NODE_MAJOR_MIN}` },
  exports: Object.fromEntries(Object.entries(exports).map(([name, target]) => [name, exported(target)])),
}
writeFileSync(path.join(dist, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
