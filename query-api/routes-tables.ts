// Captured tables as they are now, out of the mirror of their source: a row by its key, and pages of rows in the order of keys.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type AnyRow, fail, type ObjectContract, type SourceConnector } from '../core/index.ts'
import { compileWriter, type JsonWriter } from './json-writer.ts'
import { LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { checkNames, integer, text } from './parameters.ts'
import { keyType, type Reads } from './reads.ts'
import { keySegment, parseKey, queryOf, sendJson } from './routes-reads.ts'
import { sourceOf } from './routes-writes.ts'

interface TableParams {
  readonly source: string
  readonly table: string
}

interface ServedTable {
  readonly source: SourceConnector
  readonly table: string
  readonly contract: ObjectContract
  readonly writeKey: JsonWriter
  readonly writeValue: JsonWriter
}

const writers = new WeakMap<ObjectContract, Pick<ServedTable, 'writeKey' | 'writeValue'>>()

function writersOf(contract: ObjectContract): Pick<ServedTable, 'writeKey' | 'writeValue'> {
  const known = writers.get(contract)
  if (known) return known
  const made = { writeKey: compileWriter(keyType(contract)), writeValue: compileWriter(contract.type) }
  writers.set(contract, made)
  return made
}

export function addTableRoutes(server: FastifyInstance, { sources }: Reads): void {
  const path = '/v1/sources/:source/tables/:table/rows'
  const served = ({ source: name, table }: TableParams): ServedTable => {
    const source = sourceOf(sources, name)
    const contract = source.tables.contracts.get(table)
    if (contract) return { source, table, contract, ...writersOf(contract) }
    throw fail('TABLE_UNKNOWN', `source ${source.name} captures no table '${table.slice(0, 100)}'`, {
      detail: `it captures ${[...source.tables.contracts.keys()].join(', ') || 'none'}`,
    })
  }

  server.get<{ Params: TableParams }>(`${path}/:key`, async (request, reply) => {
    checkNames(queryOf(request), [])
    const { source, table, contract, writeKey, writeValue } = served(request.params)
    const key = parseKey(contract.key, keySegment(request.raw.url ?? ''))
    const { rows, position } = await source.tables.get(table, [contract.key.encode(key)])
    const [row] = rows
    if (!row) {
      const { ageMs, final } = freshness(source)
      throw fail('ROW_NOT_FOUND', `${contract.name} has no row ${contract.key.format(key).slice(0, 200)}`, {
        data: { position: String(position), ageMs, final },
      })
    }
    sendJson(reply, `{"key":${writeKey(key)},"value":${writeValue(row)},${placeJson(source, position)}}`)
    return reply
  })

  server.get<{ Params: TableParams }>(path, async (request, reply) => {
    const { source, table, contract, writeKey, writeValue } = served(request.params)
    const { after, limit } = pageOf(request, contract)
    const { rows, position } = await source.tables.page(table, after, limit + 1)
    const { key } = contract
    const page = rows.slice(0, limit) as readonly AnyRow[]
    const entries = page.map(row => `{"key":${writeKey(key.fromRow(row))},"value":${writeValue(row)}}`)
    const last = rows.length > limit ? page.at(-1) : undefined
    const next = last ? JSON.stringify(key.format(key.fromRow(last))) : 'null'
    sendJson(reply, `{"rows":[${entries.join(',')}],"next":${next},${placeJson(source, position)}}`)
    return reply
  })
}

function pageOf(request: FastifyRequest, { key }: ObjectContract): { after: Buffer | undefined; limit: number } {
  const query = queryOf(request)
  checkNames(query, ['after', 'limit'])
  const after = text(query, 'after')
  const limit = integer(query, 'limit', { min: 1, max: LOG_PAGE_MAX, fallback: LOG_PAGE_DEFAULT })
  return { after: after === undefined ? undefined : key.encode(parseKey(key, after)), limit }
}

function freshness(source: SourceConnector): { readonly ageMs: number | null; readonly final: boolean } {
  const { ageMs, snapshot } = source.status()
  return { ageMs, final: snapshot === null }
}

function placeJson(source: SourceConnector, position: number): string {
  const { ageMs, final } = freshness(source)
  return `"position":"${position}","ageMs":${ageMs},"final":${final}`
}
