// Law 6: a code change never counts as compatible by itself. The fingerprint is a hash over the modules reachable from the
// application's file by import, and the names and versions of the packages they use. Views of one application share it.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import { init, parse } from 'es-module-lexer'
import type { ApplicationParts } from './application.ts'
import type { ProjectionDefinition } from './projection.ts'
import { DEAD_LETTERS_MAX } from './skip/dead-letters.ts'

/** More modules than an application has; a bound against graphs that generate themselves. */
const MODULES_MAX = 10_000

/**
 * @param file the module that declares the application
 * @param shape what the running definitions say themselves (names, schemas, handler texts): covers code that is not in files
 */
export async function fingerprintOf(file: string | undefined, shape: string): Promise<string> {
  await init
  const hash = createHash('sha256').update(shape)
  if (file && existsSync(file)) {
    for (const [name, content] of [...moduleGraph(file)].sort(([a], [b]) => (a < b ? -1 : 1)))
      hash.update(`\0${name}\0${content}`)
  }
  return hash.digest('hex').slice(0, 32)
}

/** What the definitions themselves say: names, schemas, where records go, what handlers and upcasts do. */
export function shapeOf(parts: ApplicationParts): string {
  const hash = createHash('sha256')
  for (const definition of parts.projections) hash.update(`view ${definition.name}${shapeOfView(definition)}`)
  for (const { name, upcasts = [] } of [...parts.topics, ...parts.tables])
    for (const { version, how } of upcasts)
      hash.update(
        `upcast ${name} ${version} ${typeof how === 'function' ? how.toString() : inspect(how, { depth: null })}`,
      )
  return hash.digest('hex')
}

/** The same of one view. */
export function shapeOfView({ spec, ons }: ProjectionDefinition): string {
  const lines = [JSON.stringify(spec.key._zod.def) + JSON.stringify(Object.keys(spec.state.shape))]
  for (const { name } of spec.emits ?? []) lines.push(`emits ${name}`)
  if (spec.ttl !== undefined) lines.push(`ttl ${spec.ttl}`)
  if (spec.onError === 'skip') lines.push(`skips ${spec.deadLettersMax ?? DEAD_LETTERS_MAX}`)
  for (const { input, by, handlers } of ons) {
    const parts = typeof handlers === 'function' ? { on: handlers } : handlers
    lines.push(`${input.kind} ${input.name} ${textOf(by)}`)
    for (const [part, how] of Object.entries(parts)) lines.push(`${part} ${textOf(how)}`)
  }
  return lines.join('\n')
}

const textOf = (value: unknown): string => (typeof value === 'function' ? value.toString() : JSON.stringify(value))

/** Path relative to the entry → content, and package name → version. */
function moduleGraph(entry: string): Map<string, string> {
  const root = dirname(entry)
  const seen = new Set<string>()
  const found = new Map<string, string>()
  const queue = [entry]
  while (queue.length > 0 && seen.size < MODULES_MAX) {
    const file = queue.pop()
    if (file === undefined || seen.has(file)) continue
    seen.add(file)
    const content = read(file)
    if (content === undefined) continue
    found.set(relativeName(root, file), content)
    for (const specifier of importsOf(file, content)) {
      const target = resolveImport(specifier, file)
      if (target?.startsWith('package:')) found.set(target, '')
      else if (target) queue.push(target)
    }
  }
  return found
}

/** Names must not depend on where the application lies. */
const relativeName = (root: string, file: string): string => (file.startsWith(root) ? file.slice(root.length) : file)

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function importsOf(file: string, content: string): string[] {
  if (!/\.[cm]?[jt]s$/.test(file)) return []
  try {
    const [imports] = parse(content)
    return imports.filter(each => each.type === 'dynamic' || !each.typeOnly).flatMap(each => each.specifier ?? [])
  } catch {
    // A file that cannot be parsed here still counts by its content.
    return []
  }
}

function resolveImport(specifier: string, from: string): string | undefined {
  if (isBuiltin(specifier)) return undefined
  if (specifier.startsWith('.') || specifier.startsWith('/')) return resolve(dirname(from), specifier)
  if (specifier.startsWith('file:')) return fileURLToPath(specifier)
  return packageVersion(specifier, from)
}

/** `package:zod@4.6.7`, from the nearest package.json of what the specifier resolves to. */
function packageVersion(specifier: string, from: string): string {
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  for (const folder of createRequire(pathToFileURL(from)).resolve.paths(name) ?? []) {
    const manifest = read(resolve(folder, name, 'package.json'))
    if (manifest) return `package:${name}@${(JSON.parse(manifest) as { version?: string }).version}`
  }
  return `package:${name}`
}
