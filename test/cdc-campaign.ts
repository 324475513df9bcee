// npm run test:cdc [-- --kills N --seed N --database NAME]: over each database, a capturing process is killed many times at random
// moments (default 50); ends with 1 where a change was lost or doubled.
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { DATABASES } from './cdc/conformance/databases.ts'
import { killRepeatedly } from './cdc/conformance/kills.ts'

const { values } = parseArgs({
  options: { kills: { type: 'string' }, seed: { type: 'string' }, database: { type: 'string' } },
})
const kills = Number(values.kills ?? 50)
const seed = Number(values.seed ?? Date.now() % 1_000_000)
let failed = 0
for (const database of DATABASES) {
  if (values.database && values.database !== database.name) continue
  if (database.isMissing()) continue
  await using server = await database.open()
  const report = await killRepeatedly(database, await server.createDatabase(), seed, kills)
  const right = isDeepStrictEqual(report.byLog, report.now) && report.broken.length === 0
  if (!right) failed++
  const said = right ? 'nothing lost, nothing doubled' : `NOT EQUAL; in pieces: ${report.broken.length}`
  process.stdout.write(
    `${database.name}: ${kills} kills, ${report.transactions} transactions (seed ${seed}): ${said}\n`,
  )
}
process.exitCode = failed > 0 ? 1 : 0
