import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { Database } from './bench/cdc/database.ts'
const dir = mkdtempSync('/tmp/drain-')
const run = async (db: Database, told: object, args: string[] = []) => {
  const child = spawn(process.execPath, [...args, 'bench/cdc/capture-child.ts', JSON.stringify(told)], { env: { ...process.env, MAINSTEM_BENCH_URL: db.server.url() }, stdio: ['pipe', 'inherit', 'inherit'] })
  await once(child, 'exit')
}
const db = await Database.open()
await run(db, { mode: 'snapshot', dataDir: dir })
for (let n = 0; n < 2; n++) {
  await db.change()
  await run(db, { mode: 'drain', dataDir: dir, lsn: await db.lsn() }, n === 1 && process.argv[2] ? ['--cpu-prof', '--cpu-prof-dir=/tmp/w/prof'] : [])
}
await db[Symbol.asyncDispose]()
