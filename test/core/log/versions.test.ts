// What a reader of columns is told: where each column of the current contract comes from in a stored layout.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, type Upcast } from '../../../core/index.ts'
import { storedFor } from '../../../core/log/evolution.ts'
import { adaptByColumn, storedFields } from '../../../core/log/layout.ts'
import { readingOf, type StoredTopic } from '../../../core/log/versions.ts'
import { Random } from '../../support/random.ts'

const contract = (schema: z.ZodObject, ...upcasts: Upcast[]) =>
  compileContract('things', 'topic', schema, 'id', upcasts)

function begun(schema: z.ZodObject): StoredTopic {
  const layouts = [{ id: 1, fields: storedFields(contract(schema).type) }]
  return { id: 1, name: 'things', kind: 'topic', key: ['id'], single: true, layouts }
}

const v1 = z.object({ id: z.int32(), name: z.string(), place: z.object({ x: z.number() }), gone: z.boolean() })

describe('the plan of a layout', () => {
  it('says of each current column which stored one it is, or its constant', () => {
    const now = z.object({
      id: z.int(),
      title: z.string().nullable(),
      place: z.object({ x: z.number(), y: z.number().nullable() }),
      size: z.int().default(3),
    })
    const current = contract(now, { version: 1, schema: v1, how: { renamed: { name: 'title' } } })
    const stored = storedFor(begun(v1), current, 2)
    expect(stored.layouts.map(({ id, version, upcast }) => [id, version, upcast])).toEqual([
      [1, undefined, undefined],
      [2, 2, { renamed: { name: 'title' } }],
    ])
    const { plan } = readingOf(stored, stored.layouts[0]!, current)
    if (plan === 'by record') throw new Error('not by column')
    expect(plan.map(({ name, from, adapt, make }) => [name, from, adapt !== undefined, make?.()])).toEqual([
      ['id', 'id', false, undefined],
      ['title', 'name', false, undefined],
      ['place', 'place', true, undefined],
      ['size', undefined, false, 3],
    ])
    const newest = readingOf(stored, stored.layouts[1]!, current)
    expect(newest.adapt).toBeUndefined()
    expect(newest.plan).toMatchObject([{ from: 'id' }, { from: 'title' }, { from: 'place' }, { from: 'size' }])
  })

  it('is by record as soon as one function is on the way', () => {
    const now = z.object({ id: z.int(), length: z.int() })
    const how = (old: AnyRow) => ({ id: old['id'], length: String(old['name']).length })
    const current = contract(now, { version: 1, schema: v1, how })
    const stored = storedFor(begun(v1), current, 2)
    const { plan, adapt } = readingOf(stored, stored.layouts[0]!, current)
    expect(plan).toBe('by record')
    expect(adapt?.({ id: 1, name: 'four', place: { x: 1 }, gone: true }, 9)).toEqual({ id: 1, length: 4 })
  })

  it('over many versions is the same as one step after the other', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed)
      const schemas: z.ZodObject[] = [z.object({ id: z.int(), a: z.int(), b: z.string() })]
      const upcasts: Upcast[] = []
      const steps: ((row: AnyRow) => AnyRow)[] = []
      for (let version = 1; version <= 1 + random.int(4); version++) {
        const { id, ...rest } = schemas[version - 1]!.shape as Record<string, z.ZodType>
        const shape: Record<string, z.ZodType> = {}
        const renamed: Record<string, string> = {}
        const added: Record<string, unknown> = {}
        for (const [name, type] of Object.entries(rest)) {
          const fate = random.int(4)
          if (fate === 0) continue
          if (fate === 1) renamed[name] = `${name}${version}`
          shape[fate === 1 ? `${name}${version}` : name] = type
        }
        // A name that was given away may come back as another field.
        const back = random.next() < 0.3 ? Object.keys(renamed)[0] : undefined
        const fresh = back ?? `n${version}`
        shape[fresh] = random.next() < 0.5 ? z.int().default(version) : z.int()
        if (!(shape[fresh] instanceof z.ZodDefault) && back === undefined) added[fresh] = -version
        else if (!(shape[fresh] instanceof z.ZodDefault)) shape[fresh] = z.int().default(version)
        upcasts.push({ version, schema: schemas[version - 1]!, how: { renamed, added } })
        schemas.push(z.object({ id: id!, ...shape }))
        steps.push(row => {
          const out: AnyRow = { id: row['id'] }
          for (const name of Object.keys(rest)) {
            const to = renamed[name] ?? name
            if (to in shape && !(name === fresh && renamed[name] === undefined)) out[to] = row[name]
          }
          out[fresh] = added[fresh] ?? version
          return out
        })
      }
      // Released one by one, or some at once.
      let stored = begun(schemas[0]!)
      let id = 2
      for (let n = 1; n < schemas.length; n++) {
        if (n < schemas.length - 1 && random.next() < 0.5) continue
        stored = storedFor(stored, contract(schemas[n]!, ...upcasts.slice(0, n)), id)
        id += 10
      }
      const row = { id: 1, a: 2, b: 'b' }
      const { plan } = readingOf(stored, stored.layouts[0]!, undefined)
      if (plan === 'by record') throw new Error('not by column')
      const expected = steps.reduce<AnyRow>((each, step) => step(each), row)
      expect(adaptByColumn(plan)(row), `seed ${seed}`).toEqual(expected)
    }
  })
})
