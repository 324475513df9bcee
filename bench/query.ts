// How fast views are read over HTTP, beside what people have instead: servers, peers, and whoever asks are processes of their own. Goals
// are printed under the names that they were set with. MAINSTEM_BENCH_SCALE=0.1 for a quick look, MAINSTEM_BENCH_PARTS=points for some
// parts only.
import { runParts } from './parts.ts'
import { lookups } from './query/lookups.ts'
import { points } from './query/points.ts'
import { ranges } from './query/ranges.ts'
import { replay } from './query/replay.ts'
import { subscribers } from './query/subscribers.ts'
import { waits } from './query/waits.ts'

export const run = () => runParts({ points, replay, lookups, ranges, waits, subscribers })
