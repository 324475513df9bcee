// An application: a pure definition of views and deciders, and through them of topics, tables and sources. Opening things is the runtime's job.
import { fileURLToPath } from 'node:url'
import {
  type AnyDecider,
  type AnyTable,
  type AnyTopic,
  type Contract,
  checkName,
  compileContract,
  contractOfTable,
  type DeciderDefinition,
  fail,
  type Input,
  isDecider,
  type SourceDefinition,
  type SourceTable,
  sourceTopicOf,
} from '../core/index.ts'
import { viewOfDecider } from './decider-view.ts'
import type { ProjectionDefinition, View } from './projection.ts'

export interface Application<
  N extends string = string,
  V extends readonly View[] = readonly View[],
  D extends readonly (AnyDecider & View)[] = readonly (AnyDecider & View)[],
> {
  readonly kind: 'application'
  readonly name: N
  readonly views: V
  /** Each is a view, too. */
  readonly deciders: D
  /** Captured tables, folded by a view or not. */
  readonly tables: readonly AnyTable[]
  readonly topics: readonly AnyTopic[]
  /** The file that declared it: where its module graph, and so its fingerprint, begins. */
  readonly file: string | undefined
}

/** What the runtime needs of an application, found by walking its views. */
export interface ApplicationParts {
  /** Views in an order in which each comes after those it folds. */
  readonly projections: readonly ProjectionDefinition[]
  readonly deciders: readonly DeciderDefinition[]
  /** Those of deciders too. */
  readonly topics: readonly (AnyTopic & { readonly key: unknown })[]
  readonly tables: readonly SourceTable[]
  readonly sources: readonly SourceDefinition[]
}

/**
 * Declares an application.
 * @param name part of the names that sources keep on database servers
 * @param parts `views`: what is computed and served; `deciders`: what takes commands, each a view too; `tables`: tables to capture that
 * no view folds; `topics`: topics that no view folds
 * @throws DEFINITION_INVALID for two things of one name, or a view that folds one which is not listed
 */
export function application<
  const N extends string,
  const V extends readonly View[] = [],
  const D extends readonly (AnyDecider & View)[] = [],
>(
  name: N,
  parts: {
    readonly views?: V
    readonly deciders?: D
    readonly tables?: readonly Input[]
    readonly topics?: readonly AnyTopic[]
  },
): Application<N, V, D> {
  checkName('application', name)
  const app: Application = {
    kind: 'application',
    name,
    views: parts.views ?? [],
    deciders: parts.deciders ?? [],
    tables: (parts.tables ?? []) as unknown as readonly AnyTable[],
    topics: parts.topics ?? [],
    file: callerFile(),
  }
  partsOf(app)
  return app as Application<N, V, D>
}

/** Walks an application's views. @throws DEFINITION_INVALID */
export function partsOf(app: Application): ApplicationParts {
  const deciders = app.deciders as unknown as readonly DeciderDefinition[]
  const notOne = deciders.find(each => !isDecider(each))
  if (notOne !== undefined)
    throw fail('DEFINITION_INVALID', `a decider of '${app.name}' is not a whole one`, {
      hint: 'decider(…).evolve({ … }).decide({ … })',
    })
  const views = [...deciders.map(viewOfDecider), ...(app.views as unknown as readonly ProjectionDefinition[])]
  const byName = new Map<string, unknown>()
  const claim = (name: string, what: unknown) => {
    const other = byName.get(name)
    if (other !== undefined && other !== what) throw fail('DEFINITION_INVALID', `two things are named '${name}'`)
    byName.set(name, what)
  }
  // The topic of a decider has its name, as its view has.
  const ownerOf = new Map<unknown, DeciderDefinition>(
    deciders.flatMap(each => [[each.topic, each] as const, [viewOfDecider(each), each] as const]),
  )
  const tables = new Set(app.tables as readonly SourceTable[])
  const topics = new Set(app.topics as readonly (AnyTopic & { key: unknown })[])
  for (const view of views) {
    if (view.kind !== 'projection') throw fail('DEFINITION_INVALID', `a view of '${app.name}' is not a projection`)
    claim(view.name, ownerOf.get(view) ?? view)
    if (view.ons.length === 0)
      throw fail('DEFINITION_INVALID', `view '${view.name}' folds nothing`, { hint: 'give it an .on(…)' })
    for (const { input } of view.ons) {
      if (input.kind === 'table') tables.add(input as unknown as SourceTable)
      else if (input.kind === 'changes') tables.add((input as unknown as { table: SourceTable }).table)
      else if (input.kind === 'topic') topics.add(input as unknown as AnyTopic & { key: unknown })
    }
    for (const topic of view.spec.emits ?? []) topics.add(topic as AnyTopic & { key: unknown })
  }
  for (const table of tables) claim(table.name, table)
  for (const each of topics) claim(each.name, ownerOf.get(each) ?? each)
  const captured = [...topics].flatMap(topic => sourceTopicOf(topic)?.source ?? [])
  const sources = new Set([...[...tables].map(table => table.source), ...captured])
  for (const source of sources) {
    claim(`source ${source.name}`, source)
    // Tokens say `m1.<log id>.log.<position>`.
    if (source.name === 'log') throw fail('DEFINITION_INVALID', "a source cannot be named 'log'")
  }
  return { projections: inOrder(views), deciders, topics: [...topics], tables: [...tables], sources: [...sources] }
}

/** The contracts of its topics and tables, as the log has them. */
export const contractsOf = ({ topics, tables }: ApplicationParts): readonly Contract[] => [
  ...topics.map(({ name, value, key, upcasts, tags }) => compileContract(name, 'topic', value, key, upcasts, tags)),
  ...tables.map(contractOfTable),
]

/** Views sorted so that each comes after the views it folds. */
function inOrder(views: readonly ProjectionDefinition[]): ProjectionDefinition[] {
  const byName = new Map(views.map(view => [view.name, view]))
  const done = new Set<string>()
  const ordered: ProjectionDefinition[] = []
  const visit = (view: ProjectionDefinition, path: readonly string[]) => {
    if (done.has(view.name)) return
    if (path.includes(view.name)) {
      throw fail('DEFINITION_INVALID', `views fold each other in a circle: ${[...path, view.name].join(' → ')}`)
    }
    for (const { input } of view.ons) {
      if (input.kind !== 'projection') continue
      const folded = byName.get(input.name)
      if (!folded) {
        throw fail(
          'DEFINITION_INVALID',
          `view '${view.name}' folds '${input.name}', which the application does not list`,
          {
            hint: `add it: application(…, { views: [${input.name}, ${view.name}] })`,
          },
        )
      }
      visit(folded, [...path, view.name])
    }
    done.add(view.name)
    ordered.push(view)
  }
  for (const view of views) visit(view, [])
  return ordered
}

/** For each view, the names of the sources that reach it, through other views and what they emit too. */
export function sourcesByView({ projections }: ApplicationParts): Map<string, string[]> {
  const found = new Map(projections.map(({ name }) => [name, new Set<string>()]))
  // Topics that are emitted to may lead back: until nothing more is found.
  for (let before = -1, now = 0; before !== now; ) {
    before = now
    for (const projection of projections)
      for (const name of sourcesOf(projection, projections, found)) found.get(projection.name)?.add(name)
    now = [...found.values()].reduce((sum, names) => sum + names.size, 0)
  }
  return new Map([...found].map(([name, names]) => [name, [...names]]))
}

function* sourcesOf(
  { ons }: ProjectionDefinition,
  projections: readonly ProjectionDefinition[],
  found: ReadonlyMap<string, ReadonlySet<string>>,
): Generator<string> {
  for (const { input } of ons) {
    const table = input.kind === 'changes' ? (input as unknown as { table: SourceTable }).table : input
    if (table.kind === 'table') yield (table as SourceTable).source.name
    const captured = table.kind === 'topic' ? sourceTopicOf(table as unknown as AnyTopic) : undefined
    if (captured) yield captured.source.name
    for (const { name, spec } of projections)
      if (name === input.name || spec.emits?.some(topic => topic.name === input.name)) yield* found.get(name) ?? []
  }
}

/** The file of the code that called `application`: the first frame outside of this one. */
function callerFile(): string | undefined {
  const before = Error.prepareStackTrace
  try {
    Error.prepareStackTrace = (_, sites) => sites
    const sites = new Error().stack as unknown as NodeJS.CallSite[]
    for (const site of sites.slice(1)) {
      const file = site.getFileName()
      if (file && file !== import.meta.url && file !== fileURLToPath(import.meta.url)) {
        return file.startsWith('file:') ? fileURLToPath(file) : file
      }
    }
    return undefined
  } finally {
    Error.prepareStackTrace = before
  }
}
