// Lines of JSON read straight from their bytes, against the same lines through JSON.parse and the contract's own parser: random
// contracts, values that are right, nearly right or strange, written in every manner, and damaged.
import { isUtf8 } from 'node:buffer'
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  ByteReader,
  ByteWriter,
  type Contract,
  compileContract,
  createRowCodec,
  describeRecord,
  fromWire,
  type Log,
  openFileLog,
  type RecordSchema,
} from '../../../../core/index.ts'
import { Random } from '../../../support/random.ts'
import { disturbed, randomContract, randomUnion } from '../../../support/random-contract.ts'
import { damagedLine, jsonText } from '../../../support/random-json.ts'
import { randomObject } from '../../../support/random-schema.ts'
import { SimulatedDisk } from '../../../support/simulated-disk.ts'

const SEED = Number(process.env['MAINSTEM_SEED'] ?? 1)
const CASES = Number(process.env['MAINSTEM_CASES'] ?? 60)
const LINES = 60

/** What a line is to the contract, by itself; undefined where it is refused. */
function reference(contract: Contract, line: Buffer): AnyRow | undefined {
  try {
    if (!isUtf8(line)) return undefined
    const input = describeRecord(contract.schema, 'input', contract.name)
    const row = contract.parse(fromWire(input, JSON.parse(line.toString('utf8'))))
    const codec = createRowCodec(contract.variants[contract.variantOf(row)]!.type)
    const writer = new ByteWriter()
    codec.encode(writer, row)
    return codec.decode(new ByteReader(writer.copy()))
  } catch {
    return undefined
  }
}

/** Reads all rows; in runs, one by one, or as copies. */
async function rowsOf(log: Log, random: Random): Promise<{ rows: AnyRow[]; positions: number[]; fast: number }> {
  const [rows, positions]: [AnyRow[], number[]] = [[], []]
  let fast = 0
  const reader = log.read(0)
  for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) {
    for (const block of blocks) {
      const cursor = block.records()
      let left = block.count
      while (cursor.next()) {
        const { lender } = cursor
        if (lender) fast++
        if (lender && random.next() < 0.7) {
          const { source, row } = lender
          source.count = 0
          const count = cursor.lendRun()
          expect(count).toBe(source.count)
          for (source.at = 0; source.at < count; source.at++) {
            rows.push(structuredClone(row))
            positions.push(source.positions[source.at]!)
          }
          source.close()
          fast += count - 1
          left -= count
        } else {
          rows.push(structuredClone(random.next() < 0.5 ? cursor.lendAfter()! : cursor.after()!))
          positions.push(cursor.position)
          cursor.recall()
          left--
        }
      }
      expect(left).toBeGreaterThanOrEqual(0)
    }
  }
  reader.close()
  return { rows, positions, fast }
}

function caseOf(random: Random): { contract: Contract; value: (random: Random) => unknown } | undefined {
  const kind = random.int(4)
  const made = kind === 0 ? randomUnion(random) : kind === 1 ? randomObject(random) : randomContract(random)
  const schema = made.schema as RecordSchema
  try {
    const withKey = (each: z.ZodObject) => each.safeExtend({ key: z.int() })
    const keyed =
      schema instanceof z.ZodObject
        ? withKey(schema)
        : z.discriminatedUnion(
            schema.def.discriminator,
            schema.def.options.map(option => withKey(option as z.ZodObject)) as unknown as [z.ZodObject],
          )
    const contract = compileContract('random', 'topic', keyed, 'key')
    return { contract, value: of => ({ ...(made.value(of) as AnyRow), key: of.int(1e6) }) }
  } catch {
    // A contract that the log does not take.
    return undefined
  }
}

function linesOf(random: Random, value: (random: Random) => unknown): Buffer[] {
  const changes = random.pick([0, 0, 1, 2])
  return Array.from({ length: LINES }, () => {
    let input = value(random)
    for (let n = 0; n < changes; n++) if (random.next() < 0.3) input = disturbed(random, input)
    const line = Buffer.from(jsonText(random, input))
    return random.next() < 0.08 ? damagedLine(random, line) : line
  }).filter(line => !line.includes(10))
}

describe('a line of JSON', () => {
  it('gives what the contract’s own parser gives, or is refused as there, over random contracts and writings', async () => {
    const counts = { cases: 0, taken: 0, refused: 0, fast: 0 }
    for (let seed = SEED; seed < SEED + CASES; seed++) {
      const random = new Random(seed)
      const made = caseOf(random)
      if (!made) continue
      counts.cases++
      const { contract, value } = made
      const lines = linesOf(random, value)
      const disk = new SimulatedDisk()
      const text = lines.flatMap(line => [line, Buffer.from(random.pick(['\n', '\r\n', ' \n', '\n\n', '\n \n']))])
      disk.plant('/lines', Buffer.concat(text))
      const wanted = lines.filter(line => line.toString('latin1').trim() !== '').map(line => reference(contract, line))
      const log = await openFileLog({
        inputs: [{ contract, path: '/lines' }],
        fileSystem: disk,
        onInvalid: 'skip',
        chunkBytes: random.pick([64, 1_000, 256 * 1024]),
      })
      const read = await rowsOf(log, random)
      const expected = wanted.filter(row => row !== undefined)
      if (!isDeepStrictEqual(read.rows, expected)) expect(read.rows, `MAINSTEM_SEED=${seed}`).toEqual(expected)
      expect(isDeepStrictEqual(read.rows, expected), `MAINSTEM_SEED=${seed}: -0, or a prototype`).toBe(true)
      expect(log.skipped, `MAINSTEM_SEED=${seed}`).toBe(wanted.length - expected.length)
      counts.taken += expected.length
      counts.refused += log.skipped
      counts.fast += read.fast
      await log.close()
    }
    // Each happens often enough to mean something.
    expect(counts.cases).toBeGreaterThan(CASES / 3)
    expect(counts.refused).toBeGreaterThan(counts.taken / 20)
    expect(counts.fast).toBeGreaterThan(counts.taken / 4)
  })
})
