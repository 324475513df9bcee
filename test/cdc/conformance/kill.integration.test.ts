import { describe, expect, test } from 'vitest'
import { DATABASES } from './databases.ts'
import { killRepeatedly } from './kills.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
/** Each kill begins a process anew. */
const TIMEOUT_MS = 240_000

/** One of each family; `npm run test:cdc` takes all. */
const databases = DATABASES.filter(({ name }) => name === 'embedded PostgreSQL' || name === 'MariaDB')

describe.each(databases)('$name', database => {
  test.skipIf(database.isMissing())(
    `a process killed in snapshot, hand-over and stream loses and doubles nothing (SEED=${SEED})`,
    async () => {
      await using server = await database.open()
      const report = await killRepeatedly(database, await server.createDatabase(), SEED, 4)
      expect(report.byLog).toEqual(report.now)
      expect(report.broken).toEqual([])
      expect(report.transactions).toBeGreaterThan(20)
    },
    TIMEOUT_MS,
  )
})
