// How fast a database's changes reach the log and its readers, against Debezium's embedded engine over the same PostgreSQL; and what a
// kill costs. Goals are printed under the names that they were set with. MAINSTEM_BENCH_SCALE=0.1 for a quick look,
// MAINSTEM_BENCH_PARTS=drain,latency for some parts only.
import { drain } from './cdc/drain.ts'
import { kills } from './cdc/kills.ts'
import { latency } from './cdc/latency.ts'
import { mariadb } from './cdc/mariadb.ts'
import { snapshot } from './cdc/snapshot.ts'
import { runParts } from './parts.ts'

export const run = () => runParts({ snapshot, drain, latency, kills, mariadb })
