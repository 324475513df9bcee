// What a start does with each view, decided before anything is done: keep its checkpoint, continue it under changed code, or
// fold the log from its beginning. Views that fold each other stand at one position or are made anew together: what one passed
// on while the other did not listen is in neither.
import { createHash } from 'node:crypto'
import {
  type Field,
  fail,
  type KeyCodec,
  type LogFacts,
  type MainstemError,
  type ObjectType,
  type SourceTable,
} from '../core/index.ts'
import type { ViewCheckpoint } from './checkpoint/manifest.ts'
import type { EngineEvent } from './engine-options.ts'
import { shapeOfView } from './fingerprint.ts'
import { migrationOf } from './migrate.ts'
import type { FoldedView } from './view.ts'

/** Taken for the estimate until a start has measured it here; docs/performance.md has what machines do. */
const RECORDS_PER_SECOND_DEFAULT = 1_000_000

/** What is done with one view at a start, and what it costs. */
export interface ViewPlan {
  readonly view: string
  /**
   * unchanged: its checkpoint is of this code; new: there is no checkpoint of it; rebuild: its checkpoint is not used;
   * continue: its checkpoint is of other code and is used because `continueFrom` says so, or because its rows are migrated;
   * savepoint: it begins with the rows of a savepoint.
   */
  readonly plan: 'unchanged' | 'new' | 'rebuild' | 'continue' | 'savepoint'
  /** Position after which it folds. */
  readonly from: number
  /** Positions of the log from there to its end. */
  readonly records: number
  /** What reading them takes, by the rate of the last long catching up here; one scan serves all views, so these do not add up. */
  readonly estimatedSeconds: number
  /** What changed, in words; null where nothing did. */
  readonly why: string | null
}

/** A view was taken over by other code: what it holds up to here was folded by code of this fingerprint. */
export interface ContinuedFrom {
  readonly position: number
  readonly fingerprint: string
  /** Its rows were given another form. */
  readonly migrated?: true
  /** It began with the rows of the savepoint of this name. */
  readonly savepoint?: string
  /** A replay that began with rows of this position exchanged rows: what was saved in between had others. */
  readonly replayedFrom?: number
}

/** Digests of what a view is made of, so that a changed one can be named. */
export interface ViewFacts {
  /** How keys and rows are stored. */
  readonly state: string
  /** Inputs, keys and the text of handlers. */
  readonly definition: string
  /** Topic it folds → version of its contract. */
  readonly contracts: Readonly<Record<string, number>>
}

export interface PlanInput {
  readonly views: readonly FoldedView[]
  readonly log: LogFacts
  readonly fingerprint: string
  /** What there is, by view. */
  readonly saved: Readonly<Record<string, ViewCheckpoint>>
  /** The log of which it is; undefined where there is nothing. */
  readonly logId: string | undefined
  /** Why there is nothing although there was; undefined where nothing is wrong. */
  readonly fault?: string | undefined
  /** The name of the savepoint of which `saved` is; undefined where it is the newest checkpoint. */
  readonly savepoint?: string | undefined
  /** Views to be continued whatever their code. */
  readonly continueFrom: readonly string[]
  readonly recordsPerSecond: number | null
}

type StartPlan = Extract<EngineEvent, { event: 'start-plan' }>
type Verdict = Pick<ViewPlan, 'plan' | 'from' | 'why'>

/** @throws VIEW_CANNOT_CONTINUE */
export function planStart(input: PlanInput): readonly ViewPlan[] {
  const verdicts = new Map(input.views.map(view => [view, judge(view, input)]))
  for (const family of families(input.views)) alignFamily(family, verdicts, input)
  const rate = input.recordsPerSecond ?? RECORDS_PER_SECOND_DEFAULT
  return [...verdicts].map(([{ name }, { plan, from, why }]) => {
    const records = Math.max(0, input.log.end - from)
    return { view: name, plan, from, records, estimatedSeconds: Math.round((records / rate) * 1_000) / 1_000, why }
  })
}

/** All of it, as it is told. */
export const wholePlan = (views: readonly ViewPlan[]): StartPlan => ({
  event: 'start-plan',
  views,
  records: Math.max(0, ...views.map(({ records }) => records)),
  estimatedSeconds: Math.max(0, ...views.map(({ estimatedSeconds }) => estimatedSeconds)),
})

function judge(view: FoldedView, input: PlanInput): Verdict {
  const saved = input.saved[view.name]
  const wanted = input.continueFrom.includes(view.name)
  if (saved === undefined) {
    const why =
      input.fault ?? (input.savepoint === undefined ? 'it has no checkpoint' : 'the savepoint does not have it')
    if (wanted) throw cannotContinue(view.name, why)
    return { plan: input.fault === undefined ? 'new' : 'rebuild', from: 0, why }
  }
  const lost = lostBase(saved, input)
  if (lost !== undefined) {
    if (wanted || input.savepoint !== undefined) throw cannotContinue(view.name, lost)
    return { plan: 'rebuild', from: 0, why: lost }
  }
  const facts = factsOf(view, input.log)
  const why = saved.fingerprint === input.fingerprint ? null : changed(saved.facts, facts)
  const isSame = saved.facts.state === facts.state
  const isMigrated = !isSame && migrationOf(view, saved.facts.state) !== undefined
  if (input.savepoint !== undefined) {
    const other = why === null ? '' : `, ${isMigrated ? `${why}; its rows are migrated` : why}`
    if (why !== null && !wanted && !isMigrated) throw otherCode(view.name, input.savepoint, why)
    if (!isSame && !isMigrated) throw cannotContinue(view.name, STATE_CHANGED)
    return { plan: 'savepoint', from: saved.position, why: `savepoint '${input.savepoint}'${other}` }
  }
  if (why === null) return { plan: 'unchanged', from: saved.position, why }
  if (isMigrated) return { plan: 'continue', from: saved.position, why: `${why}; its rows are migrated` }
  if (!wanted) return { plan: 'rebuild', from: 0, why }
  if (!isSame) throw cannotContinue(view.name, STATE_CHANGED)
  return { plan: 'continue', from: saved.position, why }
}

const STATE_CHANGED = 'its key or state schema changed'

/** Why a checkpoint is worth nothing, whatever the code. */
function lostBase({ position, generation }: ViewCheckpoint, { log, logId }: PlanInput): string | undefined {
  if (logId !== log.id) return 'its checkpoint is of another log'
  // Below what was changed it is good only for the base that it was folded from.
  if (position < log.base.changedTo && generation !== log.base.generation)
    return `history after its checkpoint, position ${position}, was removed`
  return undefined
}

function changed(before: ViewFacts, now: ViewFacts): string {
  const topics = Object.keys(now.contracts).filter(topic => before.contracts[topic] !== now.contracts[topic])
  const parts = [
    ...(before.state === now.state ? [] : ['its key or state schema']),
    ...(before.definition === now.definition ? [] : ['its definition']),
    ...topics.filter(topic => before.contracts[topic] !== undefined).map(topic => `the contract of ${topic}`),
  ]
  if (parts.length > 0) return `${parts.join(', ')} changed`
  return 'code of the application changed, not its own definition'
}

/** Views tied to each other by folding one another. */
function families(views: readonly FoldedView[]): FoldedView[][] {
  const of = new Map<string, FoldedView[]>()
  for (const view of views) {
    const joined = [view]
    for (const { input } of view.definition.ons) {
      const other = input.kind === 'projection' ? of.get(input.name) : undefined
      if (other !== undefined && !joined.includes(other[0]!)) joined.unshift(...other)
    }
    for (const each of joined) of.set(each.name, joined)
  }
  return [...new Set(of.values())]
}

function alignFamily(
  family: readonly FoldedView[],
  verdicts: Map<FoldedView, Verdict>,
  { continueFrom }: PlanInput,
): void {
  const first = verdicts.get(family[0]!)!
  if (family.every(view => verdicts.get(view)!.from === first.from)) return
  const anew = family.filter(view => verdicts.get(view)!.from === 0)
  const names = (anew.length > 0 ? anew : family).map(view => `'${view.name}'`).join(', ')
  const why =
    anew.length > 0
      ? `${names}, which it folds or which folds it, begins anew`
      : `views that fold each other stand at different positions: ${names}`
  for (const view of family) {
    const verdict = verdicts.get(view)!
    if (verdict.from === 0) continue
    if (continueFrom.includes(view.name) || verdict.plan === 'savepoint') throw cannotContinue(view.name, why)
    verdicts.set(view, { plan: 'rebuild', from: 0, why })
  }
}

const cannotContinue = (view: string, why: string): MainstemError =>
  fail('VIEW_CANNOT_CONTINUE', `view '${view}' cannot be continued`, { detail: why, data: { view } })

const otherCode = (view: string, savepoint: string, why: string): MainstemError =>
  fail('VIEW_CANNOT_CONTINUE', `view '${view}' is of other code than savepoint '${savepoint}'`, {
    detail: why,
    hint: `start with --continue ${view} to go on from the rows that the former code made, or run that code`,
    data: { view },
  })

/** What a view is made of, now. Its topics are registered. */
export function factsOf(view: FoldedView, log: Pick<LogFacts, 'findTopic'>): ViewFacts {
  const { definition, key, value, storedFields } = view
  const topics = definition.ons.flatMap(({ input }) => {
    if (input.kind === 'projection') return []
    return [input.kind === 'changes' ? (input as unknown as { table: SourceTable }).table.name : input.name]
  })
  return {
    state: stateDigest(key, value, storedFields),
    definition: digest(shapeOfView(definition)),
    contracts: Object.fromEntries(topics.map(name => [name, log.findTopic(name)?.contract.version ?? 0])),
  }
}

/** Of how keys and rows are stored. */
export const stateDigest = (key: KeyCodec, value: ObjectType, stored: readonly Field[]): string =>
  digest(JSON.stringify([key.columns, value, stored]))

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32)

/** Names of the views that a start begins anew. */
export const begunAnew = (
  views: readonly Pick<FoldedView, 'name' | 'error'>[],
  plans: ReadonlyMap<string, ViewPlan>,
): readonly string[] =>
  views.flatMap(({ name, error }) => {
    const plan = plans.get(name)?.plan
    return !error && (plan === 'new' || plan === 'rebuild') ? [name] : []
  })
