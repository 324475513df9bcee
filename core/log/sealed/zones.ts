// What a block's zones say: whether any of its records may have values within given ranges. Only what they exclude is certain.
import { fail } from '../../errors.ts'
import type { LogTopic, RangeValue, ScanOptions } from '../log.ts'
import { OP_PARKED, OP_UPDATE } from '../records.ts'
import type { Layout } from '../topics.ts'
import { type GroupEntry, planOf } from './block-writer.ts'

type Ranges = NonNullable<ScanOptions['within']>

/** @throws REQUEST_INVALID where no topic has a field of the ranges, or a range is none */
export function checkRanges(topics: readonly LogTopic[], ranges: Ranges): void {
  for (const [field, [least, greatest]] of Object.entries(ranges)) {
    const variants = topics.flatMap(({ contract }) => contract.variants)
    const names = variants.flatMap(({ type }) => type.fields.map(({ name }) => name))
    if (!names.some(name => isWithin(field, name))) {
      throw fail('REQUEST_INVALID', `no topic of the scan has the field '${field}'`, {
        detail: `they have ${[...new Set(names)].join(', ')}`,
      })
    }
    if (!(least <= greatest))
      throw fail('REQUEST_INVALID', `the range of '${field}' is none`, {
        detail: 'give the least value, then the greatest',
      })
  }
}

const isWithin = (path: string, field: string): boolean => path === field || path.startsWith(`${field}.`)

/** True where rows of the layout show the field, or what is nested in it, as they have it; or neither have nor show it. */
export function isAsStored({ plan, codec }: Layout, path: string): boolean {
  if (plan === 'by record') return false
  const columns = plan.filter(({ name }) => isWithin(path, name))
  if (columns.length === 0) return !codec.type.fields.some(({ name }) => isWithin(path, name))
  return columns.every(({ name, from, adapt }) => from === name && !adapt)
}

/** False where no record of a group has a value within each of the ranges. */
export const mayHold = (group: GroupEntry, layout: Layout, ranges: Ranges): boolean =>
  Object.entries(ranges).every(([field, range]) => !isAsStored(layout, field) || mayHoldOf(group, layout, field, range))

function mayHoldOf(
  group: GroupEntry,
  layout: Layout,
  field: string,
  range: readonly [RangeValue, RangeValue],
): boolean {
  const { columns } = planOf(layout)
  const column = columns.findIndex(({ name, kind }) => name === field && kind !== 'tags')
  const { kind, type } = columns[column] ?? {}
  if (group.op === OP_PARKED || type?.kind === 'enum' || (kind !== 'int' && kind !== 'float' && kind !== 'bigint'))
    return true
  const images = group.op === OP_UPDATE ? [0, 1] : [0]
  const zones = images.map(image => group.zones.find(zone => zone.image === image && zone.column === column))
  // No zone: no record has a value, or the row before has the row after's; or, of bigints, one is more than a zone can say.
  if (kind === 'bigint' && zones.includes(undefined)) return true
  const [least, greatest] = range.map(comparable) as [number | bigint, number | bigint]
  return zones.some(zone => zone !== undefined && zone.min <= greatest && zone.max >= least)
}

const comparable = (value: RangeValue): number | bigint => (value instanceof Date ? value.getTime() : value)
