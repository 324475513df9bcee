// How fast views are made from a log, against Flink and Kafka Streams; and what shards, checkpoints and a kill cost. Goals are printed under
// the names that they were set with. MAINSTEM_BENCH_SCALE=0.1 for a quick look, MAINSTEM_BENCH_PARTS=views,memory for some parts only.

import { runParts } from './parts.ts'
import { checkpoints } from './replay/checkpoints.ts'
import { memory } from './replay/memory.ts'
import { againstPeers } from './replay/peers.ts'
import { recovery } from './replay/recovery.ts'
import { shards } from './replay/shards.ts'
import { eightViews } from './replay/sharing.ts'

export const run = () => runParts({ peers: againstPeers, shards, views: eightViews, checkpoints, recovery, memory })
