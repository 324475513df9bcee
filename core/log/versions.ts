// How stored rows are read by the contract of now. A topic's layouts stand in order, those of a version together; of each variant
// the later ones of a version take what the earlier ones hold, by column, and the last one is its full shape. Between versions
// stands an upcast: by column, or by the application's function, which takes and gives rows of any variant in its full shape.
// So a row's way is: to the full shape of its variant, over the upcast, and so on up to the newest version. It is known also
// to a reader without the application, as far as it goes by column.
import type { AnyRow, CompiledUpcast, Contract, Field, RecordShape } from '../contract/index.ts'
import { fail, isMainstemError, type MainstemError, textOf } from '../errors.ts'
import { enterHandlers, type HandlerOwner, leaveHandlers } from '../purity.ts'
import {
  adaptByColumn,
  checkColumn,
  composePlans,
  isSame,
  type LayoutPlan,
  type PlannedColumn,
  planColumns,
  type StoredLayout,
  sameFields,
  storedFields,
} from './layout.ts'

export interface StoredTopic {
  readonly id: number
  readonly name: string
  readonly kind: Contract['kind']
  readonly key: readonly string[]
  readonly single: boolean
  /** Fields by whose values events are found; none where it is left out. */
  readonly tags?: readonly string[]
  readonly layouts: readonly StoredLayout[]
}

export const versionOf = (layout: StoredLayout): number => layout.version ?? 1

export const newestVersion = (layouts: readonly StoredLayout[]): number => versionOf(layouts[layouts.length - 1]!)

/** The full shapes of a version: of each variant its last layout. */
export function fullShapes(layouts: readonly StoredLayout[], version: number): readonly StoredLayout[] {
  const shapes = new Map<string | undefined, StoredLayout>()
  for (const layout of layouts) if (versionOf(layout) === version) shapes.set(layout.variant?.name, layout)
  return [...shapes.values()]
}

/** A variant's full shape in a version, if the log has it. */
export const fullShape = (
  layouts: readonly StoredLayout[],
  version: number,
  variant: string | undefined,
): StoredLayout | undefined =>
  layouts.findLast(layout => versionOf(layout) === version && layout.variant?.name === variant)

export function changedFrom({ layouts }: StoredTopic, { version, variants, discriminator }: Contract): boolean {
  const shapes = fullShapes(layouts, version)
  if (newestVersion(layouts) !== version || shapes.length !== variants.length) return true
  return variants.some(({ name, type }) => {
    const shape = fullShape(layouts, version, name)
    return !shape || shape.variant?.by !== discriminator || !sameFields(shape.fields, storedFields(type))
  })
}

/** A record's row, as the current contract has it. @throws CONTRACT_UPCAST_FAILED, CONTRACT_UPCAST_MISSING, HANDLER_IMPURE */
export type AdaptRow = (row: AnyRow, position: number | undefined) => AnyRow

/** How rows of a layout are read; `plan` is what `adapt` does, where it can be done to whole columns. */
export interface Reading {
  readonly plan: LayoutPlan
  /** Undefined where rows pass as they are. */
  readonly adapt: AdaptRow | undefined
}

type Step = readonly PlannedColumn[] | AdaptRow

/** @param contract the application's, where it has the topic */
export function readingOf(stored: StoredTopic, layout: StoredLayout, contract: Contract | undefined): Reading {
  const steps = joined(stepsFrom(stored, layout, contract))
  const [only] = steps
  if (!only) return { plan: asIs(layout.fields), adapt: undefined }
  if (steps.length === 1 && typeof only !== 'function')
    return { plan: only, adapt: isSame(layout.fields, only) ? undefined : adaptByColumn(only) }
  const run = steps.map(step => (typeof step === 'function' ? step : adaptByColumn(step)))
  return { plan: 'by record', adapt: (row, position) => run.reduce((each, step) => step(each, position), row) }
}

const asIs = (fields: readonly Field[]): readonly PlannedColumn[] =>
  fields.map(({ name }) => ({ name, from: name, adapt: undefined, make: undefined }))

/** Neighbours that go by column become one. */
function joined(steps: readonly Step[]): readonly Step[] {
  const out: Step[] = []
  for (const step of steps) {
    const before = out.at(-1)
    if (before && typeof before !== 'function' && typeof step !== 'function')
      out[out.length - 1] = composePlans(before, step)
    else out.push(step)
  }
  return out
}

/** @throws CONTRACT_CHANGED where there is no way */
export function stepsFrom(stored: StoredTopic, layout: StoredLayout, contract: Contract | undefined): Step[] {
  const { name: topic, layouts } = stored
  const newest = newestVersion(layouts)
  const steps: Step[] = []
  // Undefined once a function has given a row: it is in the full shape of its variant, whichever that is.
  let at: StoredLayout | undefined = layout
  for (let version = versionOf(layout); ; version++) {
    if (at) at = grown(stored, at, steps)
    if (version === newest) return steps
    const next = layouts.find(each => versionOf(each) === version + 1)!
    if (next.upcast !== undefined && next.upcast !== 'record') {
      const from = at ?? fullShape(layouts, version, undefined)!
      const of = { topic, version, variant: undefined }
      steps.push(planColumns(of, from.fields, next.fields, next.added, next.upcast.renamed))
      at = next
    } else {
      for (const to of fullShapes(layouts, version + 1)) checkKeyColumns(stored, at, to)
      steps.push(byRecord(stored, version, contract?.upcasts[version - 1]))
      at = undefined
    }
  }
}

/** Adds the steps to the full shape of a layout's variant, and gives that. */
function grown({ name: topic, layouts }: StoredTopic, layout: StoredLayout, steps: Step[]): StoredLayout {
  const of = { topic, version: versionOf(layout), variant: layout.variant?.name }
  let at = layout
  for (const next of layouts.slice(layouts.findIndex(each => each.id === layout.id) + 1)) {
    if (versionOf(next) !== of.version || next.variant?.name !== of.variant) continue
    steps.push(planColumns(of, at.fields, next.fields, next.added))
    at = next
  }
  return at
}

/** A function gives rows of the whole next version, but the key has to be the one that was appended. */
function checkKeyColumns(stored: StoredTopic, from: StoredLayout | undefined, to: StoredLayout): void {
  for (const column of stored.key) {
    const [before, after] = [from, to].map(each => each?.fields.find(field => field.name === column))
    if (!from || !before || !after) continue
    checkColumn({ topic: stored.name, version: versionOf(from), variant: from.variant?.name }, before, after)
  }
}

function byRecord({ name, key }: StoredTopic, version: number, upcast: CompiledUpcast | undefined): AdaptRow {
  const how = upcast?.how
  if (!upcast || typeof how !== 'function') {
    return (_, position) => {
      throw fail('CONTRACT_UPCAST_MISSING', `records of version ${version} of ${name} need their upcast`, {
        detail: `${place(position)}topic('${name}', …).upcast(${version}, …) is not at hand`,
        data: { topic: name, version, position },
      })
    }
  }
  const failed = failureOf(name, version)
  const owner: HandlerOwner = { describeHandler: () => `upcast(${version}, …) of ${name}` }
  return (row, position) => {
    const keys = key.map(column => row[column])
    let out: AnyRow
    enterHandlers(owner)
    try {
      const made = how(row)
      if (made instanceof Promise) {
        made.catch(() => {})
        throw new TypeError('the function gave a promise: an upcast is synchronous')
      }
      out = upcast.accept(made)
    } catch (error) {
      throw failed(position, error)
    } finally {
      leaveHandlers()
    }
    const moved = key.find((column, n) => !sameKey(keys[n], out[column]))
    if (moved !== undefined) throw failed(position, new TypeError(`it changed the key column ${moved}`))
    return out
  }
}

const failureOf =
  (topic: string, version: number) =>
  (position: number | undefined, cause: unknown): MainstemError => {
    const data = { topic, version, position }
    const why = isMainstemError(cause) ? (cause.detail ?? cause.message) : textOf(cause)
    const detail = `${place(position)}${why}`
    if (isMainstemError(cause) && cause.code === 'HANDLER_IMPURE')
      return fail(cause.code, cause.message, {
        detail,
        hint: 'an upcast is a function of the old record alone',
        data,
        cause,
      })
    const message = `a record of version ${version} of ${topic} cannot be read as version ${version + 1}`
    const hint = `mend upcast(${version}, …) of ${topic}; it takes every record of that version`
    return fail('CONTRACT_UPCAST_FAILED', message, { detail, hint, data, cause })
  }

const place = (position: number | undefined): string => (position === undefined ? '' : `position ${position}: `)

const sameKey = (left: unknown, right: unknown): boolean =>
  left instanceof Date && right instanceof Date ? left.getTime() === right.getTime() : left === right

/** What a contract says of one of its versions. */
export const shapeOfVersion = (contract: Contract, version: number): RecordShape =>
  contract.upcasts[version - 1] ?? contract
